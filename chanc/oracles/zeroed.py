"""The shrink oracle's twin: the original model with everything zeroed that a rewrite drops.

Of edges the twin is the original with the columns zeroed that consumers don't keep, and nothing else: channels that
went because nobody reads them are there in it, and must not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.errors import VerifyError
from chanc.ir import copy_model, load
from chanc.ir.collector import uncollected
from chanc.ir.functions import inline_functions
from chanc.ir.initializers import add_constant
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import called, nodes_of
from chanc.ir.normalize import distinct_names
from chanc.ops import kind_of, spec_of
from chanc.ops.quantize import ZERO_POINTS
from chanc.oracles.compare import Array
from chanc.rewriter.trace import Trace
from chanc.rewriter.transfer import row_blocks
from chanc.rewriter.zero import stored_zero


@uncollected()
def zeroed(model: Any, trace: Trace | Mapping[str, Any]) -> ir.Model:
    """The original model with every slice zeroed that the trace drops, or that its edges don't keep; a copy.

    Each use of an initializer gets a copy of its own, since one tensor may be dropped differently at two nodes.
    """
    copy = copy_model(model) if isinstance(model, ir.Model) else load(model)
    inline_functions(copy)  # the trace names the nodes that functions are made of
    distinct_names(copy.graph)
    names = Names(value_names(copy.graph))
    known: dict[ir.Value, Array] = {}
    for node, index, value, axes in _uses(copy, [*_dropped(trace), *_kept(trace)]):
        spec = spec_of(node)
        if index in ZERO_POINTS.get(kind_of(node), {}).values():
            continue  # what it stands for is zeroed
        array = _constant(value, known)
        dropped = {axis: np.delete(np.arange(array.shape[axis]), kept.astype(np.int64)) for axis, kept in axes.items()}
        if not any(places.size for places in dropped.values()):
            continue
        nothing = stored_zero(array.shape, node, index, lambda other: _constant(other, known))
        if nothing is None and spec is not None and index in spec.divisors:
            # Zero would divide by zero, and what stands there may make NaN: 1 is as good, the channel is read by zeros.
            nothing = np.ones(array.shape, array.dtype)
        own = add_constant(copy.graph, names.fresh(f"{value.name}.zeroed"), _without(array, dropped, nothing))
        node.replace_input_with(index, own)
    return copy


def _without(array: Array, dropped: Mapping[int, IntArray], nothing: Array | None) -> Array:
    """A copy with the places of each axis taken out; `nothing` is what there is then everywhere, None for zeros.

    Rows that go whole are never touched.
    """
    left = np.delete(np.arange(array.shape[0]), dropped.get(0, ()))
    blank = np.zeros(array.shape, array.dtype) if nothing is None else np.array(nothing, array.dtype)
    for start, part in row_blocks(array, left):
        rows = left[start : start + len(part)]
        for axis, places in dropped.items():
            if axis:
                gone = (slice(None),) * axis + (places,)
                part[gone] = 0 if nothing is None else nothing[rows][gone]
        blank[rows] = part
    return blank


def strays(model: ir.Model, trace: Trace | Mapping[str, Any]) -> str:
    """Where a rewritten model is not of the sizes that the trace tells of, in words; empty where it is."""
    known: dict[ir.Value, Array] = {}
    try:
        for node, index, value, axes in _uses(model, _operands(trace)):
            shape = _constant(value, known).shape
            for axis, source in axes.items():
                if axis >= len(shape) or shape[axis] != source.size:
                    return f"input {index} of '{called(node)}' is {shape}, not {source.size} along axis {axis}"
    except VerifyError as error:
        return str(error)
    return ""


_Use = tuple[str, int, dict[int, Array]]
"""A node by the name of its first output, one of its inputs, and by axis the positions that are left."""


def _uses(model: ir.Model, uses: Iterable[_Use]) -> Iterator[tuple[ir.Node, int, ir.Value, dict[int, Array]]]:
    """The operands of a trace in a model: node, input, its value, and the sources by axis."""
    by_output = {called(node): node for node in nodes_of(model.graph)}
    for name, index, axes in uses:
        node = by_output.get(name)
        value = node.inputs[index] if node is not None and index < len(node.inputs) else None
        if node is None or value is None:
            raise VerifyError(f"the trace names '{name}', input {index}, which the model doesn't have")
        yield node, index, value, axes


def _operands(trace: Trace | Mapping[str, Any]) -> list[_Use]:
    return [(node, index, axes) for node, index, axes, _ in _traced(trace)]


def _dropped(trace: Trace | Mapping[str, Any]) -> list[_Use]:
    """The operands, without the axes along which only edges took anything away."""
    told = {"edges": trace.edges, "unread": trace.unread} if isinstance(trace, Trace) else trace
    by_edges = {*told.get("edges", ()), *told.get("unread", ())}
    return [
        (node, index, {k: source for k, source in axes.items() if not (by_edges and by_edges.issuperset(groups[k]))})
        for node, index, axes, groups in _traced(trace)
    ]


def _traced(
    trace: Trace | Mapping[str, Any],
) -> Iterator[tuple[str, int, dict[int, Array], Mapping[int, Sequence[str]]]]:
    """The operands of a trace, or of its file: node, input, the sources by axis, and the groups."""
    if isinstance(trace, Trace):
        for operand in trace.operands:
            yield operand.node, operand.input, {**operand.axes}, operand.groups
        return
    for o in trace["operands"]:
        axes: dict[int, Array] = {int(axis): np.array(source) for axis, source in o["axes"].items()}
        yield o["node"], int(o["input"]), axes, {int(axis): names for axis, names in o.get("groups", {}).items()}


def _kept(trace: Trace | Mapping[str, Any]) -> list[_Use]:
    """The columns that the consumers of edges keep."""
    edges = [e.to_json() for e in trace.edges.values()] if isinstance(trace, Trace) else trace.get("edges", {}).values()
    return [(e["node"], int(e["input"]), {int(e["axis"]): np.array(e["kept"], dtype=np.int64)}) for e in edges]


def _constant(value: ir.Value, known: dict[ir.Value, Array]) -> Array:
    """The content of an initializer, or of what a graph computes from initializers alone; `known` is what was found."""
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is None or (not node.inputs and node.op_type != "Constant"):
        raise VerifyError(f"'{value.name}' is not a constant of the model")
    if value not in known:
        known[value] = _held(node) if node.op_type == "Constant" else _computed(node, value, known)
    return known[value]


def _computed(node: ir.Node, value: ir.Value, known: dict[ir.Value, Array]) -> Array:
    """What a node of constants makes, by ONNX's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {entry.name or "": _constant(entry, known) for entry in node.inputs if entry is not None}
    imports = node.graph.opset_imports if node.graph is not None else {}
    graph = onnx.GraphProto(name="constant")
    graph.node.append(ir.serde.serialize_node(node))
    graph.input.extend(onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds)
    graph.output.append(onnx.helper.make_value_info(value.name or "", onnx.TypeProto()))
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()]
    try:
        run = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run
        return np.asarray(next(iter(run(None, feeds))))
    except Exception as error:
        raise VerifyError(f"'{value.name}' can't be computed: {error}") from error


def _held(node: ir.Node) -> Array:
    """What a Constant node holds, in whichever of its attributes."""
    name, attribute = next(iter(node.attributes.items()))
    if name == "value":
        return attribute.as_tensor().numpy()
    return np.asarray(attribute.value, dtype=np.float32 if name.startswith("value_float") else np.int64)
