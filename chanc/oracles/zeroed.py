"""The shrink oracle's twin: the original model with everything zeroed that a rewrite drops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from chanc.errors import VerifyError
from chanc.ir import load
from chanc.ir.initializers import add_constant
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import called, nodes_of
from chanc.ir.normalize import distinct_names
from chanc.ops import spec_of
from chanc.oracles.compare import Array
from chanc.rewriter.trace import Trace


def zeroed(model: Any, trace: Trace | Mapping[str, Any]) -> ir.Model:
    """The original model with every slice zeroed that the trace drops; a copy.

    Each use of an initializer gets a copy of its own, since one tensor may be dropped differently at two nodes.
    """
    copy = load(model)
    if copy.functions:
        common.InlinePass()(copy)  # the trace names the nodes that functions are made of
    distinct_names(copy.graph)
    names = Names(value_names(copy.graph))
    for node, index, value, axes in _uses(copy, trace):
        spec = spec_of(node)
        if spec is not None and index in spec.divisors:
            # Zero would divide by zero; the channel's value doesn't matter where its consumers' weights are zero.
            continue
        array = _constant(value).copy()
        for axis, source in axes.items():
            gone = np.setdiff1d(np.arange(array.shape[axis]), source)
            array[(slice(None),) * axis + (gone,)] = 0
        own = add_constant(copy.graph, names.fresh(f"{value.name}.zeroed"), array)
        node.replace_input_with(index, own)
    return copy


def strays(model: Any, trace: Trace | Mapping[str, Any]) -> str:
    """Where a rewritten model is not of the sizes that the trace tells of, in words; empty where it is."""
    try:
        for node, index, value, axes in _uses(load(model), trace):
            shape = _constant(value).shape
            for axis, source in axes.items():
                if axis >= len(shape) or shape[axis] != source.size:
                    return f"input {index} of '{called(node)}' is {shape}, not {source.size} along axis {axis}"
    except VerifyError as error:
        return str(error)
    return ""


def _uses(
    model: ir.Model, trace: Trace | Mapping[str, Any]
) -> Iterator[tuple[ir.Node, int, ir.Value, dict[int, Array]]]:
    """The operands of a trace in a model: node, input, its value, and the sources by axis."""
    by_output = {called(node): node for node in nodes_of(model.graph)}
    for name, index, axes in _operands(trace):
        node = by_output.get(name)
        value = node.inputs[index] if node is not None and index < len(node.inputs) else None
        if node is None or value is None:
            raise VerifyError(f"the trace names '{name}', input {index}, which the model doesn't have")
        yield node, index, value, axes


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
