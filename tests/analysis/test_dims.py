from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis.dims import Dim, Size, add, divide, floor_divide, make, multiply, product, unknown, window

FAST = settings(max_examples=60, deadline=None, derandomize=True)
VALUES = {"N": 3, "H": 5, "W": 7}
SIZES = st.builds(make, st.integers(0, 12), st.lists(st.sampled_from("NHW"), max_size=3))


def number(size: Size) -> int:
    """A size with its unknowns filled in."""
    return size if isinstance(size, int) else size.factor * math.prod(VALUES[atom] for atom in size.atoms)


@FAST
@given(SIZES, SIZES)
def test_products(a: Size, b: Size) -> None:
    assert number(multiply(a, b)) == number(a) * number(b)
    assert multiply(a, b) == multiply(b, a)


@FAST
@given(SIZES, SIZES)
def test_exact_quotients(a: Size, b: Size) -> None:
    quotient = divide(a, b)
    if quotient is not None:
        assert number(quotient) * number(b) == number(a)
    if a != 0 and b != 0:
        assert divide(multiply(a, b), b) == a


@FAST
@given(SIZES, SIZES)
def test_sums_of_like_terms(a: Size, b: Size) -> None:
    total = add(a, b)
    if isinstance(total, int) or all(atom in VALUES for atom in total.atoms):
        assert number(total) == number(a) + number(b)
    assert total == add(b, a)


@FAST
@given(SIZES)
def test_a_size_less_itself_is_nothing(size: Size) -> None:
    assert add(size, multiply(size, -1)) == 0


def test_what_is_not_a_monomial_gets_a_name_of_its_own() -> None:
    h = unknown("H")
    assert add(h, 1) == add(1, h) != h
    assert floor_divide(h, 2) == floor_divide(h, 2) != floor_divide(h, 3)
    assert floor_divide(multiply(h, 4), 2) == multiply(h, 2)
    assert isinstance(h % 2, Dim)
    assert multiply(h, 4) % 2 == 0


def test_no_atoms_make_an_integer() -> None:
    assert make(6, ()) == 6
    assert make(0, ("N",)) == 0
    assert divide(unknown("N"), unknown("N")) == 1
    assert product([]) == 1


def test_division_by_zero_is_none() -> None:
    assert divide(6, 0) is None
    assert divide(unknown("N"), 0) is None


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pad", "ceil", "expected"),
    [
        (8, 3, 1, 1, 2, False, 8),
        (8, 3, 2, 1, 2, False, 4),
        (8, 3, 2, 1, 0, True, 4),
        (7, 3, 1, 2, 4, False, 7),
        (224, 7, 2, 1, 6, False, 112),
        (5, 2, 2, 1, 0, False, 2),
        (5, 2, 2, 1, 0, True, 3),
    ],
)
def test_windows(size: int, kernel: int, stride: int, dilation: int, pad: int, ceil: bool, expected: int) -> None:
    assert window(size, kernel, stride, dilation, pad, ceil) == expected


def test_windows_over_an_unknown_size() -> None:
    h = unknown("H")
    assert window(h, 3, 1, 1, 2) == h
    assert window(h, 1, 1, 1, 0) == h
    assert window(h, 3, 2, 1, 2) == window(h, 5, 2, 1, 4) != window(h, 5, 2, 1, 2)
    assert window(h, 3, 2, 1, 2) == 1 + (h - 1) // 2
    assert window(h, 3, 2, 1, 2, True) != window(h, 3, 2, 1, 2)
    assert isinstance(window(h, 3, 1, 1, 0), Dim)


def test_how_sizes_read() -> None:
    assert str(multiply(4, multiply(unknown("W"), unknown("H")))) == "4*H*W"
    assert str(unknown("N")) == "N"
