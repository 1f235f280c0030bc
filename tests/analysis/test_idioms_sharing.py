"""Tensors that several nodes use: tied weights stay tied, equal vectors that exporters share part when they must."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper as nh
import pytest

from chanc.analysis import analyze
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

IMAGE = "float[N,3,8,8] x"
NORMS = """
    g2 = Identity(g)
    a = Conv(x, w1)
    b = BatchNormalization(a, g, bb, mu, var)
    r = Relu(b)
    c = Conv(r, w2)
    d = BatchNormalization(c, g2, bb, mu, var)
    y = Conv(d, w4)
"""
NORM_WEIGHTS = {
    "w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "mu": (6,), "var": (6,), "w2": (6, 6, 1, 1), "w4": (5, 6, 1, 1),
}  # fmt: skip


def uses(model: onnx.ModelProto, op: str, index: int) -> list[str]:
    return [node.input[index] for node in model.graph.node if node.op_type == op]


def test_a_convolution_used_twice_stays_one_tensor() -> None:
    model = build(
        f"{IMAGE}, float[N,3,8,8] z",
        "float y",
        "a = Conv(x, w1) b = Conv(z, w1) d = Sub(a, b) y = Conv(d, w4)",
        {"w1": (4, 3, 1, 1), "w4": (5, 4, 1, 1)},
    )
    smaller = rewrite(model, {"w1": 2}).model
    one, two, _ = uses(smaller, "Conv", 1)
    assert one == two
    assert len(smaller.graph.initializer) == 2


def test_a_tied_decoder_stays_tied() -> None:
    model = build(
        "float[N,6] x",
        "float y",
        "a = Gemm(x, w1) r = Relu(a) b = Gemm(r, w2) q = Relu(b) c = Gemm<transB=1>(q, w2) y = Gemm(c, w4)",
        {"w1": (6, 8), "w2": (8, 4), "w4": (8, 3)},
    )
    smaller = rewrite(model, scale=0.5).model
    _, two, three, _ = uses(smaller, "Gemm", 1)
    assert two == three
    held = {t.name: list(t.dims) for t in smaller.graph.initializer}
    assert held[two] == [4, 2]


def test_norms_that_share_a_tensor_part_when_they_keep_other_channels() -> None:
    model = build(IMAGE, "float y", NORMS, NORM_WEIGHTS)
    smaller = rewrite(model, {"w1": {"keep": [0, 1, 2]}, "w2": {"keep": [3, 4, 5]}}).model
    held = {t.name: nh.to_array(t) for t in smaller.graph.initializer}
    whole = {t.name: nh.to_array(t) for t in model.graph.initializer}
    one, two = (held[name] for name in uses(smaller, "BatchNormalization", 1))
    np.testing.assert_array_equal(one, whole["g"][:3])
    np.testing.assert_array_equal(two, whole["g"][3:])


def test_norms_that_share_a_tensor_go_on_sharing_where_they_agree() -> None:
    model = build(IMAGE, "float y", NORMS, NORM_WEIGHTS)
    smaller = rewrite(model, {"w1": {"keep": [0, 2]}, "w2": {"keep": [0, 2]}}).model
    for index in range(1, 5):
        one, two = uses(smaller, "BatchNormalization", index)
        assert one == two


def test_only_one_of_two_sharing_norms_is_resized() -> None:
    model = build(IMAGE, "float y", NORMS, NORM_WEIGHTS)
    smaller = rewrite(model, {"w2": 3}).model
    held = {t.name: t.dims[0] for t in smaller.graph.initializer}
    assert [held[name] for name in uses(smaller, "BatchNormalization", 1)] == [6, 3]


def test_a_body_of_an_unknown_operator_pins_what_it_captures() -> None:
    model = build(
        f"{IMAGE}, bool k",
        "float y",
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        c = my.If(k) <
            then_branch = yes () => (float[N,6,8,8] p) { p = Relu(b) },
            else_branch = no () => (float[N,6,8,8] q) { q = Neg(b) }>
        d = Conv(a, w3)
        y = Conv(d, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (7, 4, 1, 1), "w4": (5, 7, 1, 1)},
        domains=("my",),
    )
    found = analyze(model)
    assert found.group("w2").reason == "it is used in a subgraph (If 'c')"
    assert {g.id for g in found.groups if g.resizable} == {"w1", "w3"}


def test_a_subgraph_that_captures_no_channels_pins_nothing() -> None:
    model = build(
        f"{IMAGE}, bool k",
        "float y",
        """
        a = Conv(x, w1)
        s = If(k) <
            then_branch = yes () => (float p) { p = Constant<value_float=2.0>() },
            else_branch = no () => (float q) { q = Constant<value_float=0.5>() }>
        b = Mul(a, s)
        y = Conv(b, w4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 4, 1, 1)},
    )
    assert analyze(model).group("w1").resizable
    assert check_shrink(model).groups["w1"] == (4, 2)


def test_an_unknown_operator_pins_what_enters_and_what_leaves() -> None:
    model = build(
        IMAGE,
        "float[N,5,8,8] y",
        "a = Conv(x, w1) b = Conv(a, w2) c = my.Thing(b) d = Conv(c, w3) y = Conv(d, w4)",
        {"w1": (4, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (7, 6, 1, 1), "w4": (5, 7, 1, 1)},
        domains=["my"],
    )
    found = analyze(model)
    assert found.group("w2").reason == "no rule for my::Thing (Thing 'c')"
    assert {g.id for g in found.groups if g.resizable} == {"w1", "w3"}
    assert any(pin.op == "Thing" and pin.tensor == "b" for pin in found.pinned)
    smaller = rewrite(model, scale=0.5)
    assert smaller.trace.groups == {"w1": (4, 2), "w3": (7, 4)}


@pytest.mark.parametrize("bit_width", [np.int8, np.uint8])
def test_quantised_weights_of_a_product_of_integers(bit_width: type, idiom) -> None:
    idiom(
        "a = Conv(x, w1) q, s, z = DynamicQuantizeLinear(a) c = ConvInteger(q, w, z) f = Cast<to=1>(c) y = Conv(f, w4)",
        {"w1": (8, 3, 1, 1), "w": np.ones((6, 8, 1, 1), bit_width), "w4": (5, 6, 1, 1)},
        {"w1": (8, 1), "w": (6, 1)},
    )


@pytest.mark.parametrize("body", [
    "c = Conv(w, w) y = Conv(x, c)",
    "c = Conv(w, v) d = Conv(x, c) a = Conv(x, u) e = Conv(a, w) y = Sub(d, e)",
    "k = Flatten(w) f = Flatten(v) t = Transpose<perm=[1, 0]>(f) c = MatMul(k, t) d = MatMul(p, c) a = Conv(x, u)"
    " e = Conv(a, w) m = GlobalAveragePool(e) n = Flatten(m) y = Add(d, n)",
])  # fmt: skip
def test_a_weight_that_is_multiplied_by_another_and_takes_channels_elsewhere(body: str) -> None:
    """In a product of two weights one is divided among copies; this one can't stay whole there and be divided here."""
    model = build(IMAGE, "float y", body, {"w": (3, 3, 1, 1), "v": (3, 3, 1, 1), "u": (3, 3, 1, 1), "p": (2, 3)})
    check_shrink(model, scale=0.5)
    check_widen(model, scale=1.5)
    check_widen(model, scale=2)
