"""Sequences of tensors: what torch writes for lists, chunks and stacks whose lengths are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from chanc.analysis import Analysis, analyze
from chanc.testing.builders import build

Idiom = Callable[..., Analysis]
LAYERS = {"w1": (6, 3, 1, 1), "w2": (4, 3, 1, 1), "zero": np.array(0), "one": np.array(1), "last": np.array(-1)}


@pytest.mark.parametrize(
    "made",
    [
        "s = SequenceConstruct(a, b)",
        "e = SequenceEmpty() f = SequenceInsert(e, b) s = SequenceInsert(f, a, zero)",
        "f = SequenceConstruct(a, x, b) s = SequenceErase(f, one)",
        "f = SequenceConstruct(a, b, x) s = SequenceErase(f)",
    ],
)
def test_a_list_that_is_joined(idiom: Idiom, made: str) -> None:
    """The same as a Concat of both."""
    idiom(
        f"a = Conv(x, w1) b = Conv(x, w2) {made} c = ConcatFromSequence<axis=1>(s) y = Conv(c, w4)",
        LAYERS | {"w4": (5, 10, 1, 1)},
        {"w1": (6, 1), "w2": (4, 1)},
        outputs="float[N,5,8,8] y",
    )


@pytest.mark.parametrize("place", ["one", "last"])
def test_one_of_a_list(idiom: Idiom, place: str) -> None:
    idiom(
        f"""
        a = Conv(x, w1)
        b = Conv(x, w2)
        s = SequenceConstruct(a, b)
        n = SequenceLength(s)
        c = SequenceAt(s, {place})
        f = Cast<to=1>(n)
        d = Mul(c, f)
        y = Conv(d, w4)
        z = Conv(a, w5)
        """,
        LAYERS | {"w4": (5, 4, 1, 1), "w5": (5, 6, 1, 1)},
        {"w1": (6, 1), "w2": (4, 1)},
        outputs="float[N,5,8,8] y, float[N,5,8,8] z",
    )


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_a_stack(idiom: Idiom, axis: int) -> None:
    """Stacked channels are one width, and their mean is taken."""
    idiom(
        f"""
        a = Conv(x, w1)
        b = Conv(x, w3)
        s = SequenceConstruct(a, b)
        c = ConcatFromSequence<axis={axis}, new_axis=1>(s)
        d = ReduceMean<axes=[{axis}], keepdims=0>(c)
        y = Conv(d, w4)
        """,
        LAYERS | {"w3": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        outputs="float[N,5,8,8] y",
    )


@pytest.mark.parametrize("sizes", [np.array([4, 2]), np.array(4)])
def test_parts_of_a_layer(idiom: Idiom, sizes: np.ndarray) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = SplitToSequence<axis=1>(a, sizes)
        p = SequenceAt(s, zero)
        q = SequenceAt(s, last)
        r = Relu(q)
        c = Concat<axis=1>(r, p)
        y = Conv(c, w4)
        """,
        LAYERS | {"sizes": sizes, "w4": (5, 6, 1, 1)},
        {"w1#0": (4, 1), "w1#1": (2, 1)},
        outputs="float[N,5,8,8] y",
    )


@pytest.mark.parametrize("keep", [0, 1])
def test_images_of_a_batch(idiom: Idiom, keep: int) -> None:
    """The batch is taken apart and put together again: channels are free."""
    idiom(
        f"""
        a = Conv(x, w1)
        s = SplitToSequence<axis=0, keepdims={keep}>(a)
        p = SequenceAt(s, zero)
        q = SequenceAt(s, one)
        t = SequenceConstruct(q, p)
        c = ConcatFromSequence<axis=0, new_axis={1 - keep}>(t)
        y = Conv(c, w4)
        """,
        LAYERS | {"w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        inputs="float[2,3,8,8] x",
        outputs="float[2,5,8,8] y",
    )


def test_single_channels_stay(idiom: Idiom) -> None:
    idiom(
        """
        h = Conv(x, w2)
        a = Conv(h, w1)
        s = SplitToSequence<axis=1>(a)
        p = SequenceAt(s, one)
        c = Mul(p, h)
        y = Conv(c, w4)
        """,
        LAYERS | {"w1": (6, 4, 1, 1), "w4": (5, 4, 1, 1)},
        {"w2": (4, 1)},
        outputs="float[N,5,8,8] y",
        pinned={"w1": "single positions are taken of it"},
    )


def test_a_place_that_is_computed_pins_all_of_the_list(idiom: Idiom) -> None:
    idiom(
        """
        h = Conv(x, w2)
        a = Conv(h, w1)
        b = Conv(h, w3)
        s = SequenceConstruct(a, b)
        i = Cast<to=7>(k)
        c = SequenceAt(s, i)
        y = Conv(c, w4)
        """,
        LAYERS | {"w1": (6, 4, 1, 1), "w3": (6, 4, 1, 1), "w4": (5, 6, 1, 1)},
        {"w2": (4, 1)},
        inputs="float[N,3,8,8] x, bool k",
        outputs="float[N,5,8,8] y",
        pinned={"w1": "'i' is computed while the model runs", "w3": "'i' is computed while the model runs"},
    )


def test_a_list_that_branches_read(idiom: Idiom) -> None:
    idiom(
        """
        h = Conv(x, w2)
        b = Conv(h, w3)
        t = SequenceConstruct(b, b)
        c = If(k) <
            then_branch = yes () => (float[N,7,8,8] p) { p = SequenceAt(t, one) },
            else_branch = no () => (float[N,7,8,8] q) { u = SequenceInsert(t, b) q = SequenceAt(u, zero) }>
        y = Conv(c, w4)
        """,
        LAYERS | {"w3": (7, 4, 1, 1), "w4": (5, 7, 1, 1), "k": np.array(True)},
        {"w2": (4, 1), "w3": (7, 1)},
        outputs="float[N,5,8,8] y",
    )


def test_a_list_that_leaves_the_graph_pins_what_it_holds() -> None:
    body = "h = Conv(x, w2) a = Conv(h, w1) s = SequenceConstruct(a) y = Conv(a, w4)"
    weights = LAYERS | {"w1": (6, 4, 1, 1), "w4": (5, 6, 1, 1)}
    model = build("float[N,3,8,8] x", "float[N,5,8,8] y", body, weights)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["N", 6, 8, 8]))
    model.graph.output.append(helper.make_value_info("s", kind))
    found = analyze(model)
    assert found.group("w1").reason == "it is a graph output"
    assert found.group("w2").resizable


def test_a_list_that_a_loop_carries_pins_what_it_holds(idiom: Idiom) -> None:
    idiom(
        """
        h = Conv(x, w2)
        a = Conv(h, w1)
        s = SequenceEmpty()
        t = Loop(m, k, s) <
            body = turn (int64 i, bool go, seq(float[N,6,8,8]) l) => (bool still, seq(float[N,6,8,8]) n) {
                still = Identity(go)
                n = SequenceInsert(l, a)
            }>
        c = ConcatFromSequence<axis=1>(t)
        y = Conv(c, w4)
        """,
        LAYERS | {"w1": (6, 4, 1, 1), "w4": (5, 12, 1, 1), "k": np.array(True), "m": np.array(2)},
        {"w2": (4, 1)},
        outputs="float[N,5,8,8] y",
        pinned={"w1": "what its sequence holds is not known (SequenceInsert 'n')"},
    )


def test_what_may_be_missing(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        o = Optional(a)
        h = OptionalHasElement(o)
        f = Cast<to=1>(h)
        g = OptionalGetElement(o)
        d = Mul(g, f)
        y = Conv(d, w4)
        """,
        LAYERS | {"w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        outputs="float[N,5,8,8] y",
    )
