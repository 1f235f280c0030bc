from __future__ import annotations

import pytest

from chanc.cost.polynomial import Compiled, Polynomial

A, B = Polynomial.symbol(0), Polynomial.symbol(1)


def test_sums_and_products_with_numbers_on_either_side() -> None:
    value = 3 * A * B + (2 + A) * (B + 1) / 2 + 5
    for a, b in ((0, 0), (2, 7), (1.5, -4)):
        assert Compiled.of(value)([a, b]) == pytest.approx(3 * a * b + (2 + a) * (b + 1) / 2 + 5)


def test_powers_of_one_symbol() -> None:
    assert Compiled.of(A * A * A * 2 + A)([5]) == 255


def test_a_constant_has_no_degree() -> None:
    assert Compiled.of(Polynomial({(): 7.0}))([1, 2, 3]) == 7
    assert Compiled.of(Polynomial({}))([1]) == 0
