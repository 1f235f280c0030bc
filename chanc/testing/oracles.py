"""The two oracles: what a rewrite must compute, found without any rule of chanc.

Shrink: the rewritten model equals the original with every dropped slice zeroed. Widen: with `transfer="widen"` the
rewritten model equals the original. Both run in onnxruntime without graph optimisation, on random inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.errors import VerifyError
from chanc.ir import load
from chanc.ir.initializers import add_constant
from chanc.ir.nodes import called, nodes_of
from chanc.passes.normalize import distinct_names
from chanc.rewrite import rewrite
from chanc.rewrite.trace import Trace

Array = NDArray[np.generic]
TOLERANCE = 1e-4
# Zero here would divide by zero; the channel's value doesn't matter where its consumers' weights are zero.
DIVISORS = {("BatchNormalization", 4), ("Div", 1), ("Mod", 1), ("Pow", 1), ("QuantizeLinear", 1)}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output is from what it should be: the largest error over the largest expected magnitude."""

    output: str
    shape: tuple[int, ...]
    error: float


def zeroed(model: Any, trace: Trace | Mapping[str, Any]) -> ir.Model:
    """The original model with every slice zeroed that the trace drops; a copy.

    Each use of an initializer gets a copy of its own, since one tensor may be dropped differently at two nodes.
    """
    copy = load(model)
    if copy.functions:
        common.InlinePass()(copy)  # the trace names the nodes that functions are made of
    distinct_names(copy.graph)
    by_output = {called(node): node for node in nodes_of(copy.graph)}
    for name, index, axes in _operands(trace):
        node = by_output.get(name)
        if node is None or index >= len(node.inputs) or node.inputs[index] is None:
            raise VerifyError(f"the trace names '{name}', input {index}, which the model doesn't have")
        value = node.inputs[index]
        assert value is not None
        if (node.op_type, index) in DIVISORS:
            continue
        array = _constant(value).copy()
        for axis, source in axes.items():
            gone = np.setdiff1d(np.arange(array.shape[axis]), source)
            array[(slice(None),) * axis + (gone,)] = 0
        own = add_constant(copy.graph, f"{value.name}.zeroed", array)
        node.replace_input_with(index, own)
    return copy


def _operands(trace: Trace | Mapping[str, Any]) -> list[tuple[str, int, dict[int, Array]]]:
    if isinstance(trace, Trace):
        return [(o.node, o.input, dict(o.axes)) for o in trace.operands]
    return [
        (o["node"], int(o["input"]), {int(axis): np.array(source) for axis, source in o["axes"].items()})
        for o in trace["operands"]
    ]


def _constant(value: ir.Value) -> Array:
    """The content of an initializer, or of a Constant or Identity that stands for one."""
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        return _held(node)
    if node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        return _constant(node.inputs[0])
    raise VerifyError(f"'{value.name}' is not a constant of the model")


def _held(node: ir.Node) -> Array:
    """What a Constant node holds, in whichever of its attributes."""
    name, attribute = next(iter(node.attributes.items()))
    if name == "value":
        return attribute.as_tensor().numpy()
    return np.asarray(attribute.value, dtype=np.float32 if name.startswith("value_float") else np.int64)


def compare(expected: Sequence[Array], actual: Sequence[Array], names: Sequence[str]) -> list[Difference]:
    """The difference of each output; an infinite error where shapes differ or only one side is finite."""
    found = []
    for want, have, name in zip(expected, actual, names, strict=True):
        if want.shape != have.shape:
            found.append(Difference(name, have.shape, float("inf")))
            continue
        if not np.issubdtype(want.dtype, np.floating):
            found.append(Difference(name, have.shape, float(np.mean(want != have)) if want.size else 0.0))
            continue
        a, b = want.astype(np.float64), have.astype(np.float64)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            found.append(Difference(name, have.shape, float("inf")))
            continue
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        scale = max(float(np.abs(a).max(initial=0.0)), 1e-12)
        found.append(Difference(name, have.shape, float(np.abs(a - b).max(initial=0.0)) / scale))
    return found


def differences(expected: Any, actual: Any, *, seed: int = 0, batch: int = 2) -> list[Difference]:
    """Run two models of the same interface on the same random inputs and compare their outputs."""
    one, two = (_written_out(_in_single(_before_saturation(load(model)))) for model in (expected, actual))
    feeds = ort.fitting_feeds(one, seed=seed, batch=batch)
    names = [value.name or "" for value in one.graph.outputs]
    return compare(ort.run(one, feeds, exact=True), ort.run(two, feeds, exact=True), names)


HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def _in_single(model: ir.Model) -> ir.Model:
    """Half precision made single: its rounding, 1e-3, would hide what a wrong group does."""
    values: list[ir.Value] = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in nodes_of(model.graph):
        values += node.outputs
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.INT and name in ("to", "dtype") and attribute.value in HALVES:
                node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
                node.attributes[name] = ir.AttrTensor(name, _single(attribute.as_tensor()))
    for value in values:
        if value.dtype in HALVES:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        if value.const_value is not None and value.const_value.dtype in HALVES:
            value.const_value = _single(value.const_value)
    return model


def _written_out(model: ir.Model) -> ir.Model:
    """Every Sigmoid as exp(-softplus(-x)).

    That of onnxruntime is good to 6e-8: a gate that is nearly shut, 1e-5, differs by 0.5 % with the number of channels.
    """
    for node in list(nodes_of(model.graph)):
        value, output = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type != "Sigmoid" or node.domain not in ("", "ai.onnx") or value is None or node.graph is None:
            continue
        steps = [ir.node("Neg", [value])]
        for op in ("Softplus", "Neg", "Exp"):
            steps.append(ir.node(op, [steps[-1].outputs[0]]))
        new = steps[-1].outputs[0]
        new.name, new.type, new.shape = output.name, output.type, output.shape
        for k, step in enumerate(steps[:-1]):
            step.outputs[0].name = f"{output.name}.step{k}"
        node.graph.insert_before(node, steps)
        output.replace_all_uses_with(new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
    return model


def _single(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def runs(model: Any, *, seed: int = 0) -> None:
    """Run a model on random inputs; VerifyError where an output isn't finite."""
    loaded = load(model)
    feeds = ort.fitting_feeds(loaded, seed=seed)
    for value, array in zip(loaded.graph.outputs, ort.run(loaded, feeds), strict=True):
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise VerifyError(f"output '{value.name}' of the rewritten model is not finite")


SATURATING = ("Sigmoid", "Softmax", "HardSigmoid")
VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def _before_saturation(model: ir.Model) -> ir.Model:
    """The model with a final Sigmoid or Softmax taken off: probabilities near 0 would hide any difference."""
    for k, value in enumerate(model.graph.outputs):
        node = value.producer()
        while node is not None and node.op_type in VIEWS and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        before = node.inputs[0] if node is not None and node.op_type in SATURATING else None
        if before is not None and not before.is_graph_input() and not before.is_graph_output():
            # The shape may be another where views lay between; onnxruntime only warns where none is declared.
            before.type, before.shape = value.type, None
            model.graph.outputs[k] = before
    return model


def check_shrink(model: Any, *, scale: float = 0.5, tolerance: float = TOLERANCE, **options: Any) -> Trace:
    """The shrink oracle on the exact groups of a model; AssertionError where it fails. Returns the trace."""
    plan = {g.id: {"scale": scale} for g in analyze(model).groups if g.resizable and g.exact}
    result = rewrite(model, plan, **options)
    return _checked(zeroed(model, result.trace), result.model, result.trace, tolerance)


def check_widen(model: Any, *, scale: float = 1.5, tolerance: float = TOLERANCE, **options: Any) -> Trace:
    """The widen oracle on the exact groups of a model; AssertionError where it fails. Returns the trace."""
    plan = {g.id: {"scale": scale} for g in analyze(model).groups if g.resizable and g.exact and g.scalable}
    result = rewrite(model, plan, transfer="widen", **options)
    return _checked(model, result.model, result.trace, tolerance)


def _checked(expected: Any, actual: Any, trace: Trace, tolerance: float) -> Trace:
    for found in differences(expected, actual):
        if not found.error <= tolerance:
            raise AssertionError(f"output '{found.output}' differs by {found.error:.2e} of its largest value")
    return trace
