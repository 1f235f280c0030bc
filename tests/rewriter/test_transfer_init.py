from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pytest

from chanc.ops import Spec, Weight, specs
from chanc.rewriter import TRANSFERS, rewrite
from chanc.rewriter.transfer._common import KEPT
from chanc.testing.builders import build

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_weights_are_drawn_anew(plain, weights, scale: float) -> None:
    """He et al. 2015: mean 0, variance 2 / fan-in, in every weight, resized or not."""
    model = plain(128, 160, seed=5)
    done = rewrite(model, scale=scale, transfer="init")
    old, new = weights(model), weights(done.model)
    assert new["w1"].shape[0] == int(128 * scale)
    for name in ("w1", "w2", "w3"):
        values = new[name].astype(np.float64)
        fan_in = values[0].size
        expected = np.sqrt(2 / fan_in)
        # Standard errors of a mean and of a deviation, five of each.
        assert abs(values.mean()) < 5 * expected / np.sqrt(values.size), name
        assert abs(values.std() - expected) < 5 * expected / np.sqrt(2 * values.size), name
        assert np.isin(values, old[name]).mean() < 0.01
        assert new[name].dtype == np.float32
    ones, zeros = ("gamma1", "var1"), ("beta1", "mean1", "b1", "b2", "b3")
    assert all((new[name] == 1).all() for name in ones)
    assert all((new[name] == 0).all() for name in zeros)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_other_floats_are_drawn_as_well(dtype: type[np.generic]) -> None:
    use = KEPT._replace(fill="normal")
    drawn = TRANSFERS["init"].apply(np.zeros((64, 64), dtype), (), use, np.random.default_rng(0))
    assert drawn.dtype == dtype
    assert drawn.astype(np.float64).std() == pytest.approx(0.02, rel=0.05)


def test_the_fan_in_of_a_linear_layer_in_either_order(weights) -> None:
    body = "f = Flatten (x)\na = Gemm <transB = 1> (f, w1)\nr = Relu (a)\nb = Gemm (r, w2)\ny = MatMul (b, w3)"
    shapes = {"w1": (400, 12), "w2": (400, 90), "w3": (90, 300)}
    model = build("float[N,3,2,2] x", "float y", body, shapes)
    new = weights(rewrite(model, transfer="init", scale=1.0).model)
    for name, fan_in in (("w1", 12), ("w2", 400), ("w3", 90)):
        expected = np.sqrt(2 / fan_in)
        assert abs(new[name].std() - expected) < 5 * expected / np.sqrt(2 * new[name].size), name


def test_the_seed_decides(plain, weights) -> None:
    one, again, other = (weights(rewrite(plain(), scale=1.5, transfer="init", seed=s).model)["w1"] for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_biases_that_are_added_are_zero_and_scales_are_one(weights) -> None:
    """A MatMul's bias, even one that is cut up or of a single output, and the scale of an RMSNorm taken apart.

    Positions that are added are drawn; what meets the image or decodes the output stays.
    """
    body = """
    n = Sub (x, mean)
    a = MatMul (n, w1)
    h = Add (b1, a)
    q = Mul (h, h)
    m = ReduceMean <axes = [-1]> (q)
    r = Sqrt (m)
    d = Div (h, r)
    g = Mul (d, gamma)
    s = Add (g, beta)
    b2, b3 = Split <axis = 0> (both, sizes)
    c = MatMul (s, w2)
    e = Add (c, b2)
    f = MatMul (s, w3)
    i = Add (f, b3)
    k = Mul (e, i)
    p = Add (k, positions)
    l = MatMul (p, w4)
    o = Add (l, b4)
    t = Add (o, grid)
    u = MatMul (p, w5)
    v = Add (u, b5)
    y = Concat <axis = -1> (t, v)
    """
    shapes = {"w1": (3, 8), "w2": (8, 6), "w3": (8, 6), "w4": (6, 2), "w5": (6, 1), "sizes": np.array([6, 6])}
    vectors = {"mean": 3, "b1": 8, "gamma": 8, "beta": 8, "both": 12, "b4": 2, "b5": 1}
    shapes |= {"positions": (5, 6), "grid": (5, 2)}
    model = build("float[N,5,3] x", "float y", body, shapes | {name: (size,) for name, size in vectors.items()})
    old, new = weights(model), weights(rewrite(model, transfer="init", scale=1.0).model)
    assert all((new[name] == 0).all() for name in ("b1", "beta", "both", "b4", "b5"))
    assert (new["gamma"] == 1).all()
    drawn = ("w1", "w2", "w3", "w4", "w5", "positions")
    assert not any(np.isin(new[name], old[name]).any() for name in drawn)
    assert all(np.array_equal(new[name], old[name]) for name in ("mean", "grid", "sizes"))


def test_weights_behind_other_operators(weights) -> None:
    """Transposed, reshaped, computed from others (weight normalisation), and looked up."""
    body = """
    e = Gather (table, x)
    t = Transpose (w1)
    a = MatMul (e, t)
    n = ReduceL2 <axes = [0], keepdims = 1> (v)
    u = Div (v, n)
    w = Mul (u, g)
    b = MatMul (a, w)
    y = MatMul (b, w3)
    """
    shapes = {"table": (50, 30), "w1": (400, 30), "v": (400, 80), "g": (1, 80), "w3": (80, 5)}
    model = build("int64[N,4] x", "float y", body, shapes, seed=5)
    old, new = weights(model), weights(rewrite(model, transfer="init", scale=1.0).model)
    for name, expected in (("table", 0.02), ("w1", (2 / 30) ** 0.5), ("v", (2 / 400) ** 0.5)):
        assert abs(new[name].std() - expected) < 5 * expected / np.sqrt(2 * new[name].size), name
        assert np.isin(new[name], old[name]).mean() < 0.01
    assert (new["g"] == 1).all()


def test_a_vector_that_begins_as_two_things_parts(weights) -> None:
    """Ones that an exporter let a scale and a bias share."""
    body = "a = Conv (x, w1)\nb = InstanceNormalization (a, ones, ones)\ny = Conv (b, w2)"
    model = build(
        "float[N,3,8,8] x", "float y", body, {"w1": (6, 3, 1, 1), "w2": (4, 6, 1, 1), "ones": np.ones(6, "f")}
    )
    rewritten = rewrite(model, transfer="init", scale=1.0).model
    new = weights(rewritten)
    norm = next(node for node in rewritten.graph.node if node.op_type == "InstanceNormalization")
    assert (new[norm.input[1]] == 1).all()
    assert (new[norm.input[2]] == 0).all()


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_both_directions_of_a_recurrent_layer_begin_alike(op: str, gates: int, weights) -> None:
    """The fan-in is what one gate of one direction reads."""
    body = f'y, h = {op} <hidden_size = 40, direction = "bidirectional"> (x, w, r, b)'
    shapes = {"w": (2, gates * 40, 60), "r": (2, gates * 40, 40), "b": (2, 2 * gates * 40)}
    new = weights(rewrite(build("float[5,N,60] x", "float y", body, shapes), transfer="init", scale=1.0).model)
    for name, fan_in in (("w", 60), ("r", 40)):
        expected = np.sqrt(2 / fan_in)
        assert abs(new[name].std() - expected) < 5 * expected / np.sqrt(2 * new[name].size), name
    assert (new["b"] == 0).all()


# Shapes of weights that fit x; all others are vectors [3], kernels [6, 3, 3, 3] and matrices [3, 6].
SHAPES: dict[tuple[str, int], tuple[int, ...]] = {
    ("ConvTranspose", 1): (3, 6, 3, 3), ("PRelu", 1): (3, 1, 1),
    ("DynamicQuantizeLSTM", 1): (1, 3, 8), ("DynamicQuantizeLSTM", 2): (1, 2, 8), ("MatMulNBits", 1): (6, 1, 16),
    ("MatMulBnb4", 1): (40,), ("Attention", 2): (6,), ("QAttention", 2): (6,), ("MultiHeadAttention", 3): (9,),
    **{(op, 2): (6,) for op in ("Conv", "ConvTranspose", "FusedConv", "Gemm", "FusedGemm")}, ("DeformConv", 3): (6,),
    **{(op, 1): (1, gates * 2, 3) for op, gates in GATES.items()},
    **{(op, 2): (1, gates * 2, 2) for op, gates in GATES.items()},
    **{(op, 3): (1, gates * 4) for op, gates in GATES.items()}, ("LSTM", 7): (1, 6),
}  # fmt: skip
ATTRIBUTES: dict[str, dict[str, object]] = {
    "Einsum": {"equation": "ij,jk->ik"}, "GroupNormalization": {"num_groups": 1}, "LSTM": {"hidden_size": 2},
    "GRU": {"hidden_size": 2}, "RNN": {"hidden_size": 2}, "Attention": {"num_heads": 1},
    "MultiHeadAttention": {"num_heads": 1},
}  # fmt: skip
IMAGES = ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "PRelu")
SERIES = (*GATES, "DynamicQuantizeLSTM", "Attention", "MultiHeadAttention", "QAttention")
QUANTISED = ("Integer", "QLinear", "MatMulNBits", "MatMulBnb4", "QAttention", "QGemm", "DynamicQuantize")
CERTAIN = [(spec, weight) for spec in specs() for weight in spec.weights if not weight.arithmetic]


@pytest.mark.parametrize(
    ("spec", "weight"), CERTAIN, ids=[f"{spec.domain}.{spec.name}-{weight.input}" for spec, weight in CERTAIN]
)
def test_no_trained_value_is_left(spec: Spec, weight: Weight, weights) -> None:
    """Every weight of every operator, in a graph of that operator alone: understood or not, it is drawn anew."""
    model = alone(spec, weight)
    old, new = weights(model)["w"], weights(rewrite(model, scale=1.0, transfer="init").model)["w"]
    assert (new.shape, new.dtype) == (old.shape, old.dtype)
    if isinstance(weight.init, float):
        assert (new == weight.init).all()
    elif old.dtype == np.float32:
        assert not np.isin(new, old).any()
    else:
        assert not np.array_equal(new, old)
        assert np.isin(new, old).all()


def alone(spec: Spec, weight: Weight) -> onnx.ModelProto:
    """One node that reads x, the weight as `w`, and the operator's other weights."""
    rng = np.random.default_rng(0)
    images = spec.name in IMAGES or any(other.kernel for other in spec.weights)
    x = [2, 3, 8, 8] if images else [2, 5, 3] if spec.name in SERIES else [2, 3]
    names, arrays = {0: "x"} if weight.input else {1: "x"}, []
    for other in (entry for entry in spec.weights if entry.input not in names):
        names[other.input] = "w" if other is weight else f"w{other.input}"
        shape = SHAPES.get((spec.name, other.input), usual(other))
        quantised = any(name in spec.name for name in QUANTISED) and isinstance(other.init, str)
        values = rng.integers(-100, 100, shape).astype("b") if quantised else rng.uniform(5, 6, shape).astype("f")
        arrays.append(nh.from_array(values, names[other.input]))
    least = 0 if spec.domain or not onnx.defs.has(spec.name) else onnx.defs.get_schema(spec.name, 23, "").min_input
    inputs = [names.get(k, "x" if k < least else "") for k in range(max(*names, least - 1) + 1)]
    node = oh.make_node(spec.name, inputs, ["y"], domain=spec.domain, **ATTRIBUTES.get(spec.name, {}))
    values = [oh.make_tensor_value_info("x", 1, x)], [oh.make_tensor_value_info("y", 1, None)]
    opsets = [oh.make_opsetid(domain, version) for domain, version in {"": 23, spec.domain or "unused": 1}.items()]
    return oh.make_model(oh.make_graph([node], "g", *values, arrays), opset_imports=opsets, ir_version=11)


def usual(weight: Weight) -> tuple[int, ...]:
    if weight.kernel:
        return (6, 3, 3, 3)
    return (3,) if weight.makes is weight.takes else (3, 6)
