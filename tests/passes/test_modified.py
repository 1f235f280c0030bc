"""Every pass says truly whether it changed anything, and leaves no analysis behind that speaks of another graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import chanc.passes
from chanc.backends import ort
from chanc.passes.base import ANALYSIS, Pass
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.testing.strategies import graph_of_seed

SIZE = 8


def plain() -> onnx.ModelProto:
    """In normal form, with shapes, nothing to fold or recover; a gate of one pixel, which gets no norm."""
    graph = Graph()
    x = graph.input("image", [2, 3, SIZE, SIZE]).conv(6).relu()
    return graph.model((x * x.gap().conv(6, 1).sigmoid()).gap().flatten().gemm(4))


def bare() -> onnx.ModelProto:
    """A convolution of a single pixel alone, without shapes: nothing to insert, but a type to leave behind."""
    return build(
        f"float[N,3,{SIZE},{SIZE}] image",
        "float y",
        "g = GlobalAveragePool(image) a = Conv(g, w1) y = Conv(a, w2)",
        {"w1": (4, 3, 1, 1), "w2": (5, 4, 1, 1)},
    )


def norms() -> onnx.ModelProto:
    """BatchNorms, shared through Identity."""
    return build(
        f"float[N,3,{SIZE},{SIZE}] image",
        "float y",
        "i = Identity(g) a = Conv(image, w1) b = BatchNormalization(a, g, bb, mu, var) r = Relu(b) c = Conv(r, w2) "
        "d = BatchNormalization(c, i, bb, mu, var) y = Conv(d, w4)",
        {"w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "mu": (6,), "var": np.ones(6, np.float32), "w2": (6, 6, 1, 1),
         "w4": (5, 6, 1, 1)},
    )  # fmt: skip


def spelled() -> onnx.ModelProto:
    """A norm written as Mul and Add, channels last in between, constants in nodes."""
    graph = Graph(stored="constant")
    x = graph.input("image", [2, 3, SIZE, SIZE], dynamic={0: "n"}).conv(6)
    x = x * graph.vector(6, 0.5, 1.5, shape=(6, 1, 1)) + graph.vector(6, shape=(6, 1, 1))
    x = x.transpose(0, 2, 3, 1).relu().transpose(0, 3, 1, 2).conv(4)
    n, c = x.dim(0), x.dim(1)
    return graph.model(x.reshape(n, c, -1))


def parted() -> onnx.ModelProto:
    """A sequence of an initializer and a tensor; a function that nobody calls; a body with the names of the graph."""
    model = build(
        f"float[N,3,{SIZE},{SIZE}] image, bool k",
        f"float[N,5,{SIZE},{SIZE}] y, float[N,4,{SIZE},{SIZE}] z",
        """
        a = Conv(image, w1)
        s = SequenceConstruct(a, w)
        zero = Constant<value_int=0>()
        one = Constant<value_int=1>()
        p = SequenceAt(s, zero)
        q = SequenceAt(s, one)
        y = Conv(p, q)
        z = If(k) <
            then_branch = yes () => (float[N,4,8,8] u) { v = Relu(a) u = Neg(v) },
            else_branch = no () => (float[N,4,8,8] t) { v = Constant<value_floats=[2.0]>() t = Mul(a, v) }>
        """,
        {"w1": (4, 3, 1, 1), "w": (5, 4, 1, 1)},
    )
    body = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(onnx.helper.make_function("f", "Unused", ["x"], ["y"], body, model.opset_import))
    return model


def grouped() -> onnx.ModelProto:
    """GroupNormalization as exporters write it, at an opset that has the operator."""
    graph = Graph(opset=21)
    x = graph.input("image", [2, 3, SIZE, SIZE]).conv(6)
    y = x.reshape(0, 2, -1).op("InstanceNormalization", graph.vector(2, 1.0, 1.0), graph.vector(2, 0.0, 0.0))
    y = y.reshape(2, 6, SIZE, SIZE) * graph.vector(6, shape=(6, 1, 1)) + graph.vector(6, shape=(6, 1, 1))
    return graph.model(y.relu().conv(4))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "plain": plain, "bare": bare, "norms": norms, "spelled": spelled, "parted": parted, "grouped": grouped,
    **{f"random {seed}": (lambda seed=seed: graph_of_seed(seed)) for seed in range(6)},
}  # fmt: skip


def fed(model: onnx.ModelProto) -> list[dict[str, Any]]:
    """Two batches for calibration."""
    return [ort.fitting_feeds(ir.serde.deserialize_model(model), batch=2) for _ in range(2)]


PASSES: dict[str, Callable[[onnx.ModelProto], Pass]] = {
    "ChannelsFirst": lambda model: chanc.passes.ChannelsFirst(),
    "FindGroups": lambda model: chanc.passes.FindGroups(),
    "FoldBatchNorm": lambda model: chanc.passes.FoldBatchNorm(),
    "FoldShapes": lambda model: chanc.passes.FoldShapes(),
    "InferShapes": lambda model: chanc.passes.InferShapes(),
    "InsertBatchNorm": lambda model: chanc.passes.InsertBatchNorm(fed(model)),
    "Normalize": lambda model: chanc.passes.Normalize(),
    "RecoverAffine": lambda model: chanc.passes.RecoverAffine(fed(model)),
    "RecoverGroupNorm": lambda model: chanc.passes.RecoverGroupNorm(),
    "ResizeWidths": lambda model: chanc.passes.ResizeWidths(scale=0.5),
}
AGAIN = {"ResizeWidths": lambda model: chanc.passes.ResizeWidths(scale=1.0)}
"""What a second run is where the first one is no fixed point by its nature."""


def state(model: ir.Model) -> bytes:
    """Everything a model is written as, the order of nodes included."""
    return ir.serde.serialize_model(model).SerializeToString(deterministic=True)


def test_every_pass_is_here() -> None:
    classes = {name for name in chanc.passes.__all__ if isinstance(getattr(chanc.passes, name), type)}
    assert {name for name in classes if issubclass(getattr(chanc.passes, name), Pass)} - {"Pass"} == set(PASSES)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PASSES)
def test_modified_says_whether_anything_changed(name: str, model: str) -> None:
    proto = MODELS[model]()
    loaded = ir.serde.deserialize_model(proto)
    step = PASSES[name](proto)
    if step.needs_normal_form:
        chanc.passes.Normalize()(loaded)
    stale = loaded.meta[ANALYSIS] = object()
    for one in (step, AGAIN.get(name, PASSES[name])(proto)):
        before = state(loaded)
        result = one(loaded)
        assert result.modified == (before != state(loaded))
        if result.modified or name == "FindGroups":
            assert loaded.meta.get(ANALYSIS) is not stale
        else:
            assert (loaded.meta.get(ANALYSIS) is stale) or one is not step
    assert not result.modified


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_changes_some_model(name: str) -> None:
    def changes(model: onnx.ModelProto) -> bool:
        step, loaded = PASSES[name](model), ir.serde.deserialize_model(model)
        if step.needs_normal_form:
            chanc.passes.Normalize()(loaded)
        return bool(step(loaded).modified)

    assert any(changes(make()) for make in MODELS.values())
