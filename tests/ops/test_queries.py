"""What is asked of the specs, by facts from the operators' pages in the ONNX documentation."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from chanc.analysis.groups import CONVOLUTIONS
from chanc.analysis.tables import ADDITIVE, CURVED, CUTTERS
from chanc.errors import ChancError
from chanc.ops import (
    Trait,
    Weight,
    channels_made,
    channels_taken,
    fan_in,
    find,
    has,
    operator,
    reader,
    spec_of,
    weight_of,
    with_trait,
)  # fmt: skip


def node(op: str, count: int = 2, domain: str = "", **attributes: int | str | list[int]) -> ir.Node:
    inputs = [ir.Value(name=f"x{k}") for k in range(count)]
    return ir.node(op, inputs, attributes, domain=domain)


AXES = [
    # operator, attributes, input, shape, made, taken, fan-in
    ("Conv", {}, 1, (8, 3, 5, 5), 8, 3, 75),
    ("Conv", {"group": 4}, 1, (8, 3, 5, 5), 8, 12, 75),
    ("ConvTranspose", {}, 1, (8, 3, 2, 2), 3, 8, 32),
    ("ConvTranspose", {"group": 4}, 1, (8, 3, 2, 2), 12, 8, 8),
    ("Gemm", {}, 1, (3, 4), 4, 3, 3),
    ("Gemm", {"transB": 1}, 1, (3, 4), 3, 4, 4),
    ("Gemm", {}, 0, (3, 4), 3, 4, 4),
    ("Gemm", {"transA": 1}, 0, (3, 4), 4, 3, 3),
    ("MatMul", {}, 1, (7, 3, 4), 4, 3, 3),
    ("MatMul", {}, 0, (7, 3, 4), 3, 4, 4),
    ("MatMul", {}, 1, (3,), 1, 3, 3),
    ("LSTM", {}, 1, (2, 20, 3), 20, 3, 3),
    ("LSTM", {}, 2, (2, 20, 5), 20, 5, 5),
    ("Einsum", {"equation": "ni,io->no"}, 1, (3, 4), 4, 3, 3),
    ("Einsum", {"equation": "ni,oi->no"}, 1, (3, 4), 3, 4, 4),
    ("Einsum", {"equation": "bshd, hde -> bse"}, 1, (2, 3, 4), 4, 6, 6),
    ("Einsum", {"equation": "bse,ehd->bshd"}, 1, (4, 2, 3), 6, 4, 4),
    ("Einsum", {"equation": "...i,io->...o"}, 0, (7, 6, 3), 42, 3, 3),
    ("Einsum", {"equation": "ni,io"}, 1, (3, 4), 4, 3, 3),
    ("Gather", {"axis": 0}, 0, (50, 8), 8, 1, 1),
]


@pytest.mark.parametrize(("op", "attributes", "index", "shape", "made", "taken", "each"), AXES)
def test_channels_of_weights(op, attributes, index, shape, made, taken, each) -> None:
    user = node(op, **attributes)
    weight = weight_of(user, index)
    assert weight is not None
    assert channels_made(weight, user.attributes, shape) == made
    assert channels_taken(weight, user.attributes, shape) == taken
    assert fan_in(weight, user.attributes, shape) == each


@pytest.mark.parametrize(
    ("op", "domain", "inits"),
    [
        ("BatchNormalization", "", {1: 1, 2: 0, 3: 0, 4: 1}),
        ("RMSNormalization", "", {1: 1}),
        ("SkipLayerNormalization", "com.microsoft", {2: 1, 3: 0, 4: 0}),
        ("SkipSimplifiedLayerNormalization", "com.microsoft", {2: 1, 3: 0}),
        ("LSTM", "", {1: "he", 2: "he", 3: 0, 7: 0}),
        ("GRU", "", {1: "he", 2: "he", 3: 0}),
        ("Attention", "com.microsoft", {1: "he", 2: 0}),
        ("MultiHeadAttention", "com.microsoft", {3: 0}),
        ("QLinearConv", "", {3: "he", 8: 0}),
        ("MatMulNBits", "com.microsoft", {1: "he", 5: 0}),
        ("PRelu", "", {1: 0.25}),
        ("Attention", "", {}),
        ("Relu", "", {}),
    ],
)
def test_how_weights_begin(op: str, domain: str, inits: dict[int, float | str]) -> None:
    spec = find(domain, op, 23)
    assert spec is not None
    assert {weight.input: weight.init for weight in spec.weights} == inits


def test_statistics_are_no_parameters() -> None:
    spec = spec_of(node("BatchNormalization", 5))
    assert spec is not None
    assert [weight.input for weight in spec.weights if weight.statistic] == [3, 4]
    assert spec.divisors == (4,)


def test_an_operator_is_one_of_its_domain() -> None:
    assert has(node("Conv"), Trait.CONVOLUTION)
    assert has(node("Conv", domain="ai.onnx"), Trait.CONVOLUTION, Trait.NORM)
    assert not has(node("Conv", domain="my"), Trait.CONVOLUTION)
    assert spec_of(node("Conv", domain="my")) is None
    assert weight_of(node("Conv"), 0) is None
    assert not has(None, Trait.CONVOLUTION)
    assert ("com.microsoft", "FusedConv") in with_trait(Trait.CONVOLUTION)


def test_the_newest_spec_that_holds() -> None:
    for since in (1, 13):
        weights = (Weight(since, 0.0),)
        operator("NotAnOperator", domain="test", since=since, traits=(), weights=weights, divisors=(), work=None)
    with pytest.raises(ChancError, match="the spec of test::NotAnOperator since version 13"):
        operator("NotAnOperator", domain="test", since=13, traits=(), weights=(), divisors=(), work=None)
    old, new = find("test", "NotAnOperator", 12), find("test", "NotAnOperator", 13)
    assert old is not None
    assert new is not None
    assert (old.since, new.since) == (1, 13)
    user = node("NotAnOperator", domain="test")
    assert spec_of(user) is new
    graph = ir.Graph(user.inputs, user.outputs, nodes=[user], opset_imports={"test": 12})
    assert spec_of(next(iter(graph))) is old


def test_a_weight_behind_transposes_is_the_readers() -> None:
    turn = node("Transpose", 1, perm=[2, 0, 1])
    again = ir.node("Transpose", [turn.outputs[0]], {"perm": [1, 0, 2]})
    user = ir.node("MatMul", [ir.Value(name="x"), again.outputs[0]])
    found = reader(turn, 0, 3)
    assert (found.node, found.input, found.order) == (user, 1, (0, 2, 1))
    assert reader(user, 1, 3) == (user, 1, (0, 1, 2))


def test_a_reshape_loses_the_axes() -> None:
    shape = node("Reshape", 2)
    user = ir.node("Conv", [ir.Value(name="x"), shape.outputs[0]])
    assert reader(shape, 0, 2) == (shape, 0, (0, 1))
    assert reader(shape, 0, 2, Trait.VIEW) == (user, 1, None)
    assert reader(shape, 1, 1, Trait.VIEW) == (shape, 1, (0,))


def names(trait: Trait) -> set[str]:
    return {name for _, name in with_trait(trait)}


def test_the_tables_of_the_analysis_come_out() -> None:
    """What they lack is what was forgotten in them, and of operators that other rules refuse."""
    assert names(Trait.ADDITIVE) == set(ADDITIVE)
    assert names(Trait.CUTTER) - set(CUTTERS) == {"Compress", "SplitToSequence"}
    assert set(CUTTERS) < names(Trait.CUTTER)
    assert names(Trait.CONVOLUTION) - set(CONVOLUTIONS) == {"ConvInteger", "DeformConv", "QLinearConv"}
    assert set(CONVOLUTIONS) < names(Trait.CONVOLUTION)
    assert set(CURVED) < names(Trait.CURVED)
    assert names(Trait.CURVED) - set(CURVED) - names(Trait.NORM) == {
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu", "Celu", "Cosh", "CumProd",
        "DynamicQuantizeLinear", "FastGelu", "Gelu", "HardSwish", "Hardmax", "LogSoftmax", "Mish", "Mod", "QuickGelu",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare", "Shrink", "Sinh", "Softsign", "Swish",
        "Tan", "ThresholdedRelu",
    }  # fmt: skip
