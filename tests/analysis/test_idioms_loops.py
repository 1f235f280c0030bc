"""Channels through Loop and Scan: what is carried from turn to turn, captured, stacked and cut."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis, analyze
from chanc.backends import ort
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

Idiom = Callable[..., Analysis]
turns = pytest.mark.parametrize("turns", [0, 1, 3])

RESULT = "float[N,5,8,8] y"


@pytest.fixture
def idiom(idiom: Idiom) -> Idiom:
    """The fixture of that name for results whose shapes ONNX doesn't infer."""
    return functools.partial(idiom, outputs=RESULT)


def loop(body: str, *, carried: str = "float[N,8,8,8] h", outputs: str = "float[N,8,8,8] n", result: str = "r") -> str:
    return f"""
        a = Conv(x, w1)
        {result} = Loop(m, on, a) <body = turn (int64 i, bool go, {carried}) => (bool still, {outputs}) {{
            still = Identity(go)
            {body}
        }}>
        y = Conv(r, w4)
        """


def weights(turns: int, **more: object) -> dict[str, object]:
    base = {"m": np.array(turns), "on": np.array(True), "w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)}
    return base | more


@turns
def test_a_layer_that_is_run_again_and_again(idiom: Idiom, turns: int) -> None:
    idiom(
        loop("c = Conv<pads=[1, 1, 1, 1]>(h, w2, b) d = Relu(c) n = Add(h, d)"),
        weights(turns, w2=(8, 8, 3, 3), b=(8,)),
        {"w1": (8, 1)},
    )


@turns
def test_a_hidden_layer_in_a_loop(idiom: Idiom, turns: int) -> None:
    idiom(
        loop("c = Conv<pads=[1, 1, 1, 1]>(h, w2) d = Relu(c) e = Conv(d, w3) n = Add(h, e)"),
        weights(turns, w2=(6, 8, 3, 3), w3=(8, 6, 1, 1)),
        {"w1": (8, 1), "w2": (6, 1)},
    )


@turns
def test_a_loop_that_captures_channels(idiom: Idiom, turns: int) -> None:
    """A gate from outside scales what is carried: one width. The counter of turns is no channel."""
    idiom(
        """
        a = Conv(x, w1)
        g0 = Conv(x, w2)
        g = Sigmoid(g0)
        r = Loop(m, on, a) <body = turn (int64 i, bool go, float[N,8,8,8] h) => (bool still, float[N,8,8,8] n) {
            still = Identity(go)
            j = Cast<to=1>(i)
            s = Mul(h, g)
            n = Add(s, j)
        }>
        y = Conv(r, w4)
        """,
        weights(turns, w2=(8, 3, 1, 1)),
        {"w1": (8, 1)},
    )


@turns
def test_a_constant_first_state(idiom: Idiom, turns: int) -> None:
    """What a loop begins with, and what it holds, are resized like any other weight."""
    idiom(
        """
        a = Conv(x, w1)
        p = GlobalAveragePool(a)
        r = Loop(m, on, s) <body = turn (int64 i, bool go, float[2,8,1,1] h) => (bool still, float[2,8,1,1] n) {
            still = Identity(go)
            n = Add(h, p)
        }>
        y = Conv(r, w4)
        """,
        weights(turns, s=(2, 8, 1, 1)),
        {"w1": (8, 1)},
        inputs="float[2,3,8,8] x",
    )


@turns
def test_two_carried_values_that_change_places(idiom: Idiom, turns: int) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        r, t = Loop(m, on, a, b) <body = turn (int64 i, bool go, float[N,8,8,8] h, float[N,8,8,8] g)
                => (bool still, float[N,8,8,8] n, float[N,8,8,8] o) {
            still = Identity(go)
            n = Relu(g)
            o = Neg(h)
        }>
        c = Concat<axis=1>(r, t)
        y = Conv(c, w4)
        """,
        weights(turns, w2=(8, 3, 1, 1), w4=(5, 16, 1, 1)),
        {"w1": (8, 1)},
    )


def test_scan_outputs_of_a_loop(idiom: Idiom) -> None:
    """Every turn's state is kept: a new first axis."""
    idiom(
        """
        a = Conv(x, w1)
        r, s = Loop(m, on, a) <body = turn (int64 i, bool go, float[N,8,8,8] h)
                => (bool still, float[N,8,8,8] n, float[N,6,8,8] e) {
            still = Identity(go)
            n = Relu(h)
            e = Conv(n, w2)
        }>
        t = ReduceMean<axes=[0], keepdims=0>(s)
        z = Conv(t, w3)
        y = Conv(r, w4)
        """,
        weights(3, w2=(6, 8, 1, 1), w3=(4, 6, 1, 1)),
        {"w1": (8, 1), "w2": (6, 1)},
        outputs="float[N,5,8,8] y, float[N,4,8,8] z",
    )


def test_what_grows_from_turn_to_turn_pins_only_that(idiom: Idiom) -> None:
    """Channels are added in every turn: their number is not known, what is added stays."""
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        r = Loop(m, on, b) <body = turn (int64 i, bool go, float[N,K,8,8] h) => (bool still, float[N,L,8,8] n) {
            still = Identity(go)
            n = Concat<axis=1>(h, b)
        }>
        g = ReduceMean<axes=[1]>(r)
        e = Conv(x, w3)
        s = Mul(e, g)
        y = Conv(s, w4)
        """,
        weights(3, w1=(4, 3, 1, 1), w2=(6, 4, 1, 1), w3=(8, 3, 1, 1)),
        {"w1": (4, 1), "w3": (8, 1)},
        pinned={"w2": "Loop 'r'"},
        outputs="float[N,5,8,8] y",
    )


def test_a_map_that_grows_keeps_its_channels_free(idiom: Idiom) -> None:
    idiom(
        loop(
            'n = Pad<mode="constant">(h, around) q = Shape(h)',
            carried="float[N,8,H,W] h",
            outputs="float[N,8,I,V] n",
        ),
        weights(2, around=np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        {"w1": (8, 1)},
        outputs="float[N,5,O,P] y",
    )


def test_shapes_that_are_read_inside_a_body(idiom: Idiom) -> None:
    """Numbers in the Reshapes of a body follow, whether they are read or written there."""
    idiom(
        loop("d = Shape(h) e = Reshape(h, flat) f = Relu(e) n = Reshape(f, d)"),
        weights(2, flat=np.array([0, 8, 64])),
        {"w1": (8, 1)},
    )


def test_channels_cut_by_the_counter_stay(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        r = Loop(m, on, z) <body = turn (int64 i, bool go, float[N,1,8,8] h) => (bool still, float[N,1,8,8] n) {
            still = Identity(go)
            one = Unsqueeze(i, first)
            c = Gather<axis=1>(b, one)
            n = Add(h, c)
        }>
        e = Conv(a, w3)
        s = Mul(e, r)
        y = Conv(s, w4)
        """,
        weights(3, w1=(4, 3, 1, 1), w2=(6, 4, 1, 1), w3=(8, 4, 1, 1), first=np.array([0]), z=(1, 1, 8, 8)),
        {"w1": (4, 1), "w3": (8, 1)},
        pinned={"w2": "it is looked up (Gather 'c')"},
        inputs="float[1,3,8,8] x",
        outputs="float[1,5,8,8] y",
    )


def test_an_unknown_operator_in_a_body_pins_what_enters_it() -> None:
    model = build(
        "float[N,3,8,8] x", "float[N,5,8,8] y",
        loop("c = my.Thing(g) n = Relu(h)").replace("a = Conv(x, w1)", "a = Conv(x, w1) g = Conv(a, w2)"),
        weights(3, w2=(6, 8, 1, 1)), domains=("my",),
    )  # fmt: skip
    found = analyze(model)
    assert "no rule for my::Thing (Thing 'c')" in found.group("w2").reason
    assert found.group("w1").resizable


@pytest.mark.parametrize("reverse", [0, 1])
def test_scan_over_a_sequence(idiom: Idiom, reverse: int) -> None:
    """A recurrent layer written out: x_t [N, 8], state [N, 6]; what comes out each turn is stacked."""
    idiom(
        f"""
        a = Conv(x, w1)
        s = Transpose<perm=[2, 0, 1]>(a)
        last, every = Scan(zero, s) <num_scan_inputs=1, scan_input_directions=[{reverse}],
            body = turn (float[2,6] h, float[2,8] e) => (float[2,6] n, float[2,6] o) {{
                i = MatMul(e, w2)
                r = MatMul(h, w3)
                t = Add(i, r)
                n = Tanh(t)
                o = Identity(n)
            }}>
        y = MatMul(every, w4)
        z = MatMul(last, w5)
        """,
        {"w1": (8, 3, 1), "zero": (2, 6), "w2": (8, 6), "w3": (6, 6), "w4": (6, 5), "w5": (6, 4)},
        {"w1": (8, 1), "w2": (6, 1)},
        inputs="float[2,3,7] x",
        outputs="float[7,2,5] y, float[2,4] z",
    )


def test_scan_along_other_axes(idiom: Idiom) -> None:
    """The sequence lies on axis 2 of what comes in and on axis 1 of what comes out."""
    idiom(
        """
        a = Conv(x, w1)
        every = Scan(a) <num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[-2],
            body = turn (float[2,8] e) => (float[2,6] o) { i = MatMul(e, w2) o = Relu(i) }>
        y = MatMul(every, w4)
        """,
        {"w1": (8, 3, 1), "w2": (8, 6), "w4": (6, 5)},
        {"w1": (8, 1), "w2": (6, 1)},
        inputs="float[2,3,7] x",
        outputs="float[2,7,5] y",
    )


def test_channels_that_are_scanned_stay(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        every = Scan(b) <num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
            body = turn (float[2,7] e) => (float[2,7] o) { o = Relu(e) }>
        y = Conv(every, w4)
        """,
        {"w1": (8, 3, 1), "w2": (6, 8, 1), "w4": (5, 6, 1)},
        {"w1": (8, 1)},
        pinned={"w2": "each turn sees a part of it (Scan 'every')"},
        inputs="float[2,3,7] x",
        outputs="float[2,5,7] y",
    )


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_in_a_loop(idiom: Idiom, taken: bool) -> None:
    idiom(
        loop(
            """
            n = If(k) <
                then_branch = yes () => (float[N,8,8,8] p) { c = Conv(h, w2) d = Relu(c) p = Conv(d, w3) },
                else_branch = no () => (float[N,8,8,8] q) { q = Mul(h, a) }>
            """
        ),
        weights(2, k=np.array(taken), w2=(6, 8, 1, 1), w3=(8, 6, 1, 1)),
        {"w1": (8, 1), "w2": (6, 1)},
    )


def test_a_model_with_bodies_keeps_them() -> None:
    """Names of bodies, of their inputs and outputs, and declared shapes follow the widths."""
    model = build("float[N,3,8,8] x", RESULT, loop("n = Relu(h)"), weights(2))
    small = rewrite(model, {"w1": 4}).model
    body = next(node for node in small.graph.node if node.op_type == "Loop").attribute[0].g
    assert [value.name for value in (*body.input, *body.output)] == ["i", "go", "h", "still", "n"]
    assert [d.dim_value for d in body.input[2].type.tensor_type.shape.dim] == [0, 4, 8, 8]
    assert [d.dim_value for d in body.output[1].type.tensor_type.shape.dim] == [0, 4, 8, 8]
    ort.run(small, ort.random_feeds(small))


def test_a_tensor_that_is_used_inside_and_outside() -> None:
    """One kernel for both: it goes on being one, and what they make is one width."""
    model = build(
        "float[N,3,8,8] x", RESULT,
        "c = Conv(x, w1) " + loop("d = Conv(x, w1) n = Add(h, d)").replace("y = Conv(r,", "s = Add(r, c) y = Conv(s,"),
        weights(2),
    )  # fmt: skip
    assert check_shrink(model).groups["w1"] == (8, 4)
    assert check_widen(model).groups["w1"] == (8, 12)
    assert sum(t.name.startswith("w1") for t in rewrite(model, {"w1": 4}).model.graph.initializer) == 1
