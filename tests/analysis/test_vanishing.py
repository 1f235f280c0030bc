"""A sum over channels without weights is exact where those that go leave zeros: what is claimed is what is so."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from onnx.reference import ReferenceEvaluator

from chanc.analysis import analyze
from chanc.ops import Trait
from chanc.ops.table import specs
from chanc.oracles import TOLERANCE, check_shrink, check_widen, differences, zeroed
from chanc.rewriter import rewrite
from chanc.testing.builders import build

WEIGHTS = {
    "w1": (6, 3, 1, 1), "b1": (6,), "w2": (6, 3, 1, 1), "b2": (6,), "w3": (5, 1, 1, 1), "s": np.array([0, 6, -1]),
    "one": np.array([1]), "scale": (6,), "shift": (6,), "mean": (6,), "var": (6,), "wide": (6, 1, 1), "w4": (64, 5),
    "half": np.float32(0.5), "zero": np.float32(0), "six": np.float32(6), "two": np.float32(2), "last": (8,),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "deep": (6, 1, 3, 3),
}  # fmt: skip


def model(body: str) -> onnx.ModelProto:
    used = {
        name: weight for name, weight in WEIGHTS.items() if name in body.replace(",", " ").replace(")", " ").split()
    }
    return build("float[N,3,8,8] x", "float y", body, used)


def exact(made: onnx.ModelProto) -> bool:
    """Whether the group of w1 is called exact; it is shown that it is so, or that it isn't."""
    group = next(group for group in analyze(made).groups if group.id == "w1")
    assert group.resizable
    done = rewrite(made, {"w1": {"scale": 0.5}})
    error = max(found.error for found in differences(zeroed(made, done.trace), done.model))
    assert (error <= TOLERANCE) == group.exact
    return group.exact


def summed(middle: str) -> onnx.ModelProto:
    """Channels a = Conv(x), made v by the text, and summed."""
    return model(f"a = Conv (x, w1, b1) {middle} g = ReduceSum (v, one) y = Conv (g, w3)")


ZEROS = (
    "v = Relu (a)", "v = Tanh (a)", "h = Sigmoid (a) v = Mul (a, h)", "v = Clip (a, zero, six)", "v = Add (a, wide)",
    "v = BatchNormalization (a, scale, shift, mean, var)", "v = InstanceNormalization (a, scale, shift)",
    "v = Pow (a, two)", "v = Pad (a, pads)", "v = Conv <group = 6> (a, deep, b2)",
    "v = MaxPool <kernel_shape = [2, 2]> (a)",
    "h = Exp (a) v = Mul (h, wide)", "h = Cos (a) v = Div (a, h)", "h = Erf (a) v = Sub (h, a)",
)  # fmt: skip
NO_ZEROS = (
    "v = Sigmoid (a)", "v = Exp (a)", "v = Cos (a)", "v = Softplus (a)", "v = Add (a, half)",
    "n = Neg (a) v = Sub (n, half)",
    "v = Clip (a, half, six)", "v = Pad (a, pads, half)", "h = Elu (a) v = Add (h, half)", "v = Max (a, half)",
    "h = Sigmoid (a) k = Exp (a) v = Mul (h, k)", "v = Add (a, last)", "h = Relu (a) e = Exp (h) v = Mul (e, half)",
)  # fmt: skip


@pytest.mark.parametrize("middle", ZEROS)
def test_zeros_come_out_of_zeros(middle: str) -> None:
    assert exact(summed(middle))


@pytest.mark.parametrize("middle", NO_ZEROS)
def test_something_is_left(middle: str) -> None:
    assert not exact(summed(middle))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMean"])
def test_reductions_in_which_zeros_count(op: str) -> None:
    axes = "(v, one)" if op == "ReduceSum" else "<axes = [1]> (v)"
    made = model(f"a = Conv (x, w1, b1) v = Add (a, a) g = {op} {axes} y = Conv (g, w3)")
    assert exact(made) == (op != "ReduceMean")


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [("Relu", "Relu", True), ("Relu", "Sigmoid", True), ("Exp", "Tanh", True), ("Sigmoid", "Exp", False)],
)
def test_of_a_product_of_two_activations_one_side_is_enough(one: str, other: str, right: bool) -> None:
    body = f"""
    a = Conv (x, w1, b1) b = Conv (x, w2, b2)
    p = {one} (a) q = {other} (b)
    c = Reshape (p, s) d = Reshape (q, s)
    t = Transpose <perm = [0, 2, 1]> (c)
    g = MatMul (t, d)
    y = MatMul (g, w4)
    """
    assert exact(model(body)) == right


def test_kernels_of_linear_attention_leave_ones() -> None:
    """Katharopoulos et al. 2020: elu + 1 of queries and keys."""
    body = """
    a = Conv (x, w1, b1) b = Conv (x, w2, b2)
    e = Elu (a) f = Elu (b)
    p = Add (e, half) q = Add (f, half)
    c = Reshape (p, s) d = Reshape (q, s)
    t = Transpose <perm = [0, 2, 1]> (c)
    g = MatMul (t, d)
    y = MatMul (g, w4)
    """
    assert not exact(model(body))


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_states_of_recurrent_layers_vanish(op: str) -> None:
    gates = {"GRU": 3, "LSTM": 4}[op]
    body = f"""
    h, last = {op} <hidden_size = 6> (x, w, r, b)
    q = Squeeze (last, zero)
    m = Mul (q, q)
    g = ReduceSum (m, one)
    y = MatMul (g, w3)
    """
    weights = {
        "w": (1, gates * 6, 4), "r": (1, gates * 6, 6), "b": (1, gates * 12), "zero": np.array([0]),
        "one": np.array([1]), "w3": (1, 5),
    }  # fmt: skip
    made = build("float[7,N,4] x", "float[N,5] y", body, weights)
    assert [group.exact for group in analyze(made).groups if group.resizable] == [True]
    assert check_shrink(made).operands


def test_biases_for_columns_of_heads_follow_whole_heads() -> None:
    """Transformer-XL's two biases: each has a number for each column of each head."""
    body = """
    q = MatMul (x, wq) k = MatMul (x, wk) v = MatMul (x, wv)
    a = Reshape (q, s) b = Reshape (k, s) c = Reshape (v, s)
    u = Add (a, bias)
    d = Transpose <perm = [0, 2, 1, 3]> (u) e = Transpose <perm = [0, 2, 3, 1]> (b)
    f = Transpose <perm = [0, 2, 1, 3]> (c)
    g = MatMul (d, e) h = Softmax (g) i = MatMul (h, f)
    j = Transpose <perm = [0, 2, 1, 3]> (i) o = Reshape (j, t)
    y = MatMul (o, wo)
    """
    weights = {
        "wq": (5, 12), "wk": (5, 12), "wv": (5, 12), "bias": (4, 3), "wo": (12, 5), "s": np.array([0, 0, 4, 3]),
        "t": np.array([0, 0, 12]),
    }  # fmt: skip
    made = build("float[N,6,5] x", "float y", body, weights)
    assert [(group.size, group.step) for group in analyze(made).groups if group.resizable] == [(12, 3)]
    for scale in (0.25, 0.5):
        assert check_shrink(made, scale=scale).operands
    for scale in (1.5, 2.0):
        assert check_widen(made, scale=scale).operands


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "biased"])
def test_scores_with_places_that_a_layer_makes_of_constants(bias: bool) -> None:
    """Keys of distances: a table times a weight, by heads. A copy of a head has the same scores, not half of them."""
    body = f"""
    q = MatMul (x, wq) v = MatMul (x, wv) p = MatMul (table, wp)
    a = Reshape (q, s) c = Reshape (v, s) r = Reshape (p, s)
    u = {"Add (a, bias)" if bias else "Identity (a)"}
    d = Transpose <perm = [0, 2, 1, 3]> (u) e = Transpose <perm = [0, 2, 3, 1]> (r)
    f = Transpose <perm = [0, 2, 1, 3]> (c)
    g = MatMul (d, e) h = Softmax (g) i = MatMul (h, f)
    j = Transpose <perm = [0, 2, 1, 3]> (i) o = Reshape (j, t)
    y = MatMul (o, wo)
    """
    weights = {
        "wq": (5, 12), "wv": (5, 12), "wp": (7, 12), "table": (1, 6, 7), "wo": (12, 5), "s": np.array([0, 0, 4, 3]),
        "t": np.array([0, 0, 12]), **({"bias": (4, 3)} if bias else {}),
    }  # fmt: skip
    made = build("float[N,6,5] x", "float y", body, weights)
    assert (12, 3) in [(group.size, group.step) for group in analyze(made).groups if group.resizable]
    for scale in (0.25, 0.5):
        assert check_shrink(made, scale=scale).operands
    for scale in (1.5, 2.0):
        assert check_widen(made, scale=scale).operands


def test_kernels_that_a_style_stretches_are_normed() -> None:
    """StyleGAN2: the norm of each output's kernel, from a weight that meets the style on other axes."""
    body = """
    st = Gemm <transB = 1> (z, ws, bs)
    s5 = Unsqueeze (st, at5) k = Mul (kernel, s5) q = Mul (k, k)
    n = ReduceSum <keepdims = 0> (q, over) e = Add (n, eps) r = Sqrt (e) d = Reciprocal (r) f = Unsqueeze (d, at4)
    a = Conv (x, w1) s4 = Unsqueeze (st, at4) b = Mul (a, s4)
    c = Conv (b, flat) g = Mul (c, f) h = Relu (g)
    y = Conv (h, last)
    """
    weights = {
        "ws": (6, 4), "bs": (6,), "kernel": (1, 8, 6, 3, 3), "flat": (8, 6, 3, 3), "w1": (6, 3, 1, 1),
        "last": (5, 8, 1, 1), "eps": np.float32(1e-3), "over": np.array([2, 3, 4]), "at5": np.array([1, 3, 4]),
        "at4": np.array([2, 3]),
    }  # fmt: skip
    made = build("float[N,3,6,6] x, float[N,4] z", "float y", body, weights)
    assert sorted((group.size, group.exact) for group in analyze(made).groups if group.resizable) == [
        (6, True),
        (8, True),
    ]
    assert len(check_shrink(made).groups) == 2
    assert check_widen(made).operands


@pytest.mark.parametrize("size", [(4, 6), (6, 4)])
def test_partitions_that_are_summed_behind_stay(size: tuple[int, int]) -> None:
    """ST-GCN by MatMul: a matrix for each of k partitions, then a sum over them. Columns go where they are more."""
    k, c = size
    body = (
        "a = Conv (x, w1) r = Reshape (a, s) m = MatMul (r, A) z = ReduceSum <keepdims = 0> (m, one) y = Conv (z, w3)"
    )
    weights = {
        "w1": (k * c, 3, 1, 1), "s": np.array([0, k, c, 5, 4]), "A": (1, k, 1, 4, 4), "one": np.array([1]),
        "w3": (5, c, 1, 1),
    }  # fmt: skip
    made = build("float[N,3,5,4] x", "float y", body, weights)
    free = [(group.size, group.step) for group in analyze(made).groups if group.resizable]
    assert free == ([(k * c, k)] if c > k else [])
    if free:
        assert check_shrink(made).operands
        assert check_widen(made).operands


def test_what_functions_make_of_zero_is_said_of_them() -> None:
    """Trait.LIFTING, held against ONNX's reference."""
    kind = oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    seen = 0
    for spec in specs():
        unary = Trait.ELEMENTWISE in spec.traits and Trait.BROADCAST not in spec.traits
        if (
            spec.domain
            or not unary
            or spec.name in ("BitCast", "BitwiseNot", "Cast", "CastLike", "Clip", "Dropout", "Not")
        ):
            continue
        graph = oh.make_graph(
            [oh.make_node(spec.name, ["x"], ["y"])], "g", [kind], [oh.make_empty_tensor_value_info("y")]
        )
        made = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)])
        with np.errstate(all="ignore"):
            (found,) = ReferenceEvaluator(made).run(None, {"x": np.zeros(1, np.float32)})
        assert (found.item() != 0) == (Trait.LIFTING in spec.traits), spec.name
        seen += 1
    assert seen > 30
