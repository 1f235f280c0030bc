"""Channels through the branches of an If: what they capture, make and hold."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis, analyze
from chanc.testing.builders import build

Idiom = Callable[..., Analysis]
both = pytest.mark.parametrize("taken", [True, False])

RESULT = "float[N,5,8,8] y"


@pytest.fixture
def idiom(idiom: Idiom) -> Idiom:
    """The fixture of that name for results whose shapes ONNX doesn't infer."""
    return functools.partial(idiom, outputs=RESULT)


@both
def test_branches_that_capture_one_tensor(idiom: Idiom, taken: bool) -> None:
    idiom(
        """
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float[N,6,8,8] p) { p = Relu(a) },
            else_branch = no () => (float[N,6,8,8] q) { q = Neg(a) }>
        y = Conv(c, w4)
        """,
        {"k": np.array(taken), "w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


@both
@pytest.mark.parametrize("held", ["Identity(w2)", "Constant<value=float[6,4,1,1]{VALUES}>()"])
def test_convolutions_in_branches(idiom: Idiom, taken: bool, held: str) -> None:
    """Each branch has a layer of its own; what they make is one, and so is what they take."""
    numbers = ", ".join(str(n) for n in np.linspace(-1, 1, 24).round(3))
    idiom(
        f"""
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float[N,6,8,8] p) {{ v = {held.replace("VALUES", numbers)} p = Conv(a, v) }},
            else_branch = no () => (float[N,6,8,8] q) {{ b = Relu(a) d = Conv(b, w3, e) q = Conv(d, w5) }}>
        y = Conv(c, w4)
        """,
        {
            "k": np.array(taken), "w1": (4, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (7, 4, 1, 1), "e": (7,),
            "w5": (6, 7, 1, 1), "w4": (5, 6, 1, 1),
        },
        {"w1": (4, 1), "w3": (7, 1), "w2" if "Identity" in held else "v": (6, 1)},
    )  # fmt: skip


@both
def test_branches_side_by_side_with_the_same_names(idiom: Idiom, taken: bool) -> None:
    """Weights that two branches hold under one name go to the main graph under two."""
    held = "Constant<value=float[6,4,1,1]{%s}>()"
    one, two = (held % ", ".join(str(n) for n in np.linspace(low, 1, 24).round(3)) for low in (-1, -0.2))
    found = idiom(
        f"""
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float[N,6,8,8] p) {{ v = {one} p = Conv(a, v) }},
            else_branch = no () => (float[N,6,8,8] q) {{ v = {two} q = Conv(a, v) }}>
        y = Conv(c, w4)
        """,
        {"k": np.array(taken), "w1": (4, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (4, 1), "v": (6, 1)},
    )
    assert {o.initializer for o in found.group("v").operands} == {"v", "v.1", "w4"}


def test_a_branch_that_makes_something_else_pins_only_what_it_makes(idiom: Idiom) -> None:
    """Relu keeps the channels, ReduceMean takes them together: the result is of another size."""
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        c = If(k) <
            then_branch = yes () => (float p) { p = Relu(b) },
            else_branch = no () => (float q) { q = ReduceMean<axes=[1]>(b) }>
        d = ReduceMean<axes=[1]>(c)
        e = Conv(x, w3)
        s = Mul(e, d)
        y = Conv(s, w4)
        """,
        {"k": np.array(True), "w1": (4, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (7, 3, 1, 1), "w4": (5, 7, 1, 1)},
        {"w1": (4, 1), "w3": (7, 1)},
        pinned={"w2": "another branch makes other sizes (If 'c')"},
        outputs="float[N,5,8,8] y",
    )


def test_a_branch_without_channels_pins_the_other(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float[N,3,8,8] p) { p = Conv(a, w2) },
            else_branch = no () => (float[N,3,8,8] q) { q = Neg(x) }>
        y = Conv(c, w4)
        """,
        {"k": np.array(True), "w1": (4, 3, 1, 1), "w2": (3, 4, 1, 1), "w4": (5, 3, 1, 1)},
        {"w1": (4, 1)},
        pinned={"w2": "graph input 'x'"},
    )


def test_branches_of_other_ranks(idiom: Idiom) -> None:
    """What torch writes for a squeeze: nothing is known of the result, the layers before stay."""
    idiom(
        """
        a = Conv(x, w1)
        g = GlobalAveragePool(a)
        c = If(k) <
            then_branch = yes () => (float p) { p = Squeeze(g, last) },
            else_branch = no () => (float q) { q = Identity(g) }>
        f = Reshape(c, flat)
        e = Conv(x, w3)
        y = Conv(e, w4)
        """,
        {
            "k": np.array(True), "w1": (6, 3, 1, 1), "last": np.array([2, 3]), "flat": np.array([0, 6]),
            "w3": (7, 3, 1, 1), "w4": (5, 7, 1, 1),
        },
        {"w3": (7, 1)},
        pinned={"w1": "is not understood (If 'c')"},
        outputs="float[N,5,8,8] y, float[N,6] f",
    )  # fmt: skip


def test_sizes_that_only_a_branch_knows_stay_apart() -> None:
    """Both branches call what they make `p`: equal names of unknown sizes are not equal sizes."""
    model = build(
        "float[N,3,8,8] x, bool k, bool[8] m, bool[8] n", "float[N,5,H,8] y",
        """
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float p) { p = Compress<axis=2>(a, m) },
            else_branch = no () => (float q) { p = Compress<axis=2>(a, n) q = Relu(p) }>
        y = Conv(c, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
    )  # fmt: skip
    found = analyze(model)
    assert found.group("w1").resizable
    result = next(layout for value, layout in found.findings.layouts.items() if value.name == "c")
    assert str(result.size(2)) == "c.2"


def test_a_split_across_two_groups_inside_a_branch(idiom: Idiom) -> None:
    """Sizes of parts are constants of the body."""
    idiom(
        """
        a = Conv(x, w1)
        c = If(k) <
            then_branch = yes () => (float[N,6,8,8] p) {
                sizes = Constant<value_ints=[2, 4]>()
                s, t = Split<axis=1>(a, sizes)
                u = Relu(t)
                p = Concat<axis=1>(s, u)
            },
            else_branch = no () => (float[N,6,8,8] q) { q = Neg(a) }>
        y = Conv(c, w4)
        """,
        {"k": np.array(True), "w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1#0": (2, 1), "w1#1": (4, 1)},
    )


def test_a_branch_that_can_never_run_pins_what_doesnt_fit() -> None:
    """Written for another rank: torch's scripts keep both. The layer before stays, all others are free."""
    model = build(
        "float[N,3,8,8] x, bool k", RESULT,
        """
        h = Conv(x, w3)
        a = Conv(h, w1)
        c = If(k) <
            then_branch = yes () => (float p) { t = Transpose<perm=[0, 2, 1, 3, 4, 5]>(a) p = Slice(t, s, e, s) },
            else_branch = no () => (float q) { q = Relu(a) }>
        y = Conv(c, w4)
        """,
        {"w3": (4, 3, 1, 1), "w1": (6, 4, 1, 1), "w4": (5, 6, 1, 1), "s": np.array([0]), "e": np.array([9])},
    )  # fmt: skip
    found = analyze(model)
    assert found.group("w1").reason.startswith("it doesn't fit what it is given: ")
    assert found.group("w3").resizable
