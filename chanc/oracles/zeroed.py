"""The shrink oracle's twin: the original model with everything zeroed that a rewrite drops."""

from __future__ import annotations

from collections.abc import Mapping
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
from chanc.ops import kind_of, spec_of
from chanc.ops.quantize import ZERO_POINTS
from chanc.oracles.compare import Array
from chanc.rewriter.trace import Trace
from chanc.rewriter.zero import stored_zero


def zeroed(model: Any, trace: Trace | Mapping[str, Any]) -> ir.Model:
    """The original model with every slice zeroed that the trace drops; a copy.

    Each use of an initializer gets a copy of its own, since one tensor may be dropped differently at two nodes.
    """
    copy = load(model)
    if copy.functions:
        common.InlinePass()(copy)  # the trace names the nodes that functions are made of
    distinct_names(copy.graph)
    names = Names(value_names(copy.graph))
    by_output = {called(node): node for node in nodes_of(copy.graph)}
    for name, index, axes in _operands(trace):
        node = by_output.get(name)
        if node is None or index >= len(node.inputs) or node.inputs[index] is None:
            raise VerifyError(f"the trace names '{name}', input {index}, which the model doesn't have")
        value = node.inputs[index]
        assert value is not None
        spec = spec_of(node)
        if spec is not None and index in spec.divisors:
            # Zero would divide by zero; the channel's value doesn't matter where its consumers' weights are zero.
            continue
        if index in ZERO_POINTS.get(kind_of(node), {}).values():
            continue  # what it stands for is zeroed
        array = _constant(value).copy()
        zero = stored_zero(array.shape, node, index, _constant)
        for axis, source in axes.items():
            gone = (slice(None),) * axis + (np.setdiff1d(np.arange(array.shape[axis]), source),)
            array[gone] = 0 if zero is None else zero[gone]
        own = add_constant(copy.graph, names.fresh(f"{value.name}.zeroed"), array)
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
