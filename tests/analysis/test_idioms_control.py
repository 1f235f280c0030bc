"""Channels through control flow: branches of an If, what a Loop or Scan carries, what their bodies capture and hold."""

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
both = pytest.mark.parametrize("taken", [True, False])
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


@both
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


CARRIED = """
    hN, RN = Loop(m, on, h0, R) <body = turn (int64 i, bool go, float[2,6] h, float[6,6] K)
        => (bool still, float[2,6] g, float[6,6] L) {
        still = Identity(go)
        t = Gather<axis=0>(x, i)
        a = MatMul(h, K)
        b = MatMul(t, W)
        s = Add(a, b)
        g = Tanh(s)
        L = %s
    }>
    y = MatMul(%s)
    """


def carrying(change: str, last: str = "hN, D") -> dict[str, object]:
    weights: dict[str, object] = {
        "m": np.array(5), "on": np.array(True), "h0": np.zeros((2, 6), np.float32), "R": (6, 6), "W": (4, 6),
        "c": np.full((6, 1), 0.9, np.float32), "D": (6, 3),
    }  # fmt: skip
    return {"body": CARRIED % (change, last), "weights": weights, "groups": {"R": (6, 1)}, "inputs": "float[5,2,4] x"}


def test_a_kernel_that_a_loop_carries(idiom: Idiom) -> None:
    """It is a weight as any other, and counted as one."""
    found = idiom(**carrying("Identity(K)"), outputs="float[2,3] y")
    assert {(o.initializer, o.axis): o.role for o in found.group("R").operands} == {
        ("h0", 1): "follower", ("R", 0): "consumer", ("R", 1): "producer", ("W", 1): "producer", ("D", 0): "consumer",
    }  # fmt: skip
    assert found.params == 36 + 24 + 18


@pytest.mark.parametrize("change", ["Tanh(K)", "Mul(K, c)", "Transpose(K)"])
def test_a_kernel_that_each_turn_changes(idiom: Idiom, change: str) -> None:
    found = idiom(**carrying(change) | {"groups": {"W": (6, 1)}}, outputs="float[2,3] y", unscalable={"W"})
    assert found.group("W").unscaled == "it is summed over in a product of two values that the model computes (a)"


def test_a_kernel_that_a_loop_hands_out(idiom: Idiom) -> None:
    """Behind the loop the carried weight is a weight again."""
    wanted = carrying("Identity(K)", "hR, D")
    wanted["body"] = wanted["body"].replace("y = MatMul", "hR = MatMul(hN, RN)\n y = MatMul")
    idiom(**wanted, outputs="float[2,3] y")


@pytest.mark.parametrize("change", ["Identity(K)", "Tanh(K)"])
def test_a_convolution_whose_kernel_is_carried(idiom: Idiom, change: str) -> None:
    found = idiom(
        f"""
        a = Conv(x, w1)
        r, k = Loop(m, on, a, w2) <body = turn (int64 i, bool go, float[N,8,8,8] h, float[8,8,1,1] K)
            => (bool still, float[N,8,8,8] n, float[8,8,1,1] L) {{
            still = Identity(go)
            c = Conv(h, K)
            n = Relu(c)
            L = {change}
        }}>
        y = Conv(r, w4)
        """,
        {"m": np.array(3), "on": np.array(True), "w1": (8, 3, 1, 1), "w2": (8, 8, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        unscalable=set() if change == "Identity(K)" else {"w1"},
    )
    assert found.group("w1").unscaled in ("", "each turn of Loop 'r' changes 'K'")


def test_layers_that_a_scan_takes_one_by_one(idiom: Idiom) -> None:
    """Weights stacked along an axis that a Scan goes along, as JAX writes repeated layers."""
    idiom(
        """
        a = MatMul(x, w1)
        r = Scan(a, stack) <num_scan_inputs=1, body = turn (float[N,6] h, float[6,6] K) => (float[N,6] n) {
            c = MatMul(h, K)
            n = Relu(c)
        }>
        y = MatMul(r, w4)
        """,
        {"w1": (3, 6), "stack": (4, 6, 6), "w4": (6, 5)},
        {"w1": (6, 1)},
        inputs="float[N,3] x",
        outputs="float[N,5] y",
    )


@both
def test_weights_that_a_branch_chooses(idiom: Idiom, taken: bool) -> None:
    """What takes either is divided in both."""
    idiom(
        """
        a = Conv(x, w1)
        k = If(c) <
            then_branch = yes () => (float[6,8,1,1] p) { p = Identity(w2) },
            else_branch = no () => (float[6,8,1,1] q) { q = Neg(w3) }>
        b = Conv(a, k)
        y = Conv(b, w4)
        """,
        {"c": np.array(taken), "w1": (8, 3, 1, 1), "w2": (6, 8, 1, 1), "w3": (6, 8, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (8, 1), "w2": (6, 1)},
    )
