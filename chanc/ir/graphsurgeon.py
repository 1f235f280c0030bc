"""The door to onnx-graphsurgeon: `onnx_ir.Model` to `gs.Graph` and back, for pipelines of TensorRT and ModelOpt.

Both directions go node by node, past graphsurgeon's own importer and exporter, which lose or damage what they don't
know. Weights are handed over as they are and read when asked for. What a `gs.Graph` has no place for (metadata, docs,
unused initializers, types of values) rides along beside it and is put back by name; what can't be put back is refused.
"""

from __future__ import annotations

import importlib
from typing import Any

import onnx_ir as ir

from chanc.errors import MissingDependencyError, ModelError
from chanc.ir.gs_carry import collect

CARRY = "_chanc_carry"
"""The key in the `__dict__` of a `gs.Graph` under which a `Carry` rides (its getattr logs what it doesn't know)."""

_PLAIN_NAMES = ("INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS", "TENSOR", "GRAPH")
_PLAIN = frozenset(ir.AttributeType[name] for name in _PLAIN_NAMES)


def to_gs(model: ir.Model) -> Any:
    """`model` as a `gs.Graph`; the model isn't changed, and weights are shared until someone writes to them.

    Raises:
        ModelError: the model holds what a `gs.Graph` can't: attributes that are lists of tensors or graphs, types or
            sparse tensors, overloaded functions, device configurations, inputs or outputs that are optional or maps.
        MissingDependencyError: onnx-graphsurgeon is not installed.
    """
    _require()
    _refuse(model)
    from chanc.ir.gs_write import GraphWriter

    carry = collect(model)
    graph = GraphWriter(model).graph(model.graph, {})
    vars(graph)[CARRY] = carry
    return graph


def from_gs(graph: Any) -> ir.Model:
    """A `gs.Graph` as an `onnx_ir.Model`; the graph isn't changed. Nodes are put in topological order if they aren't.

    A graph without an IR version gets the oldest that its operator sets allow (4 at least), not graphsurgeon's newest.

    Raises:
        ModelError: the graph is not legal, or holds an attribute or constant that ONNX has no place for.
        MissingDependencyError: onnx-graphsurgeon is not installed.
    """
    _require()
    from chanc.ir.gs_read import read

    return read(graph, vars(graph).get(CARRY))


def _refuse(model: ir.Model) -> None:
    if model.device_configurations:
        raise ModelError("onnx-graphsurgeon can't hold the model: it has device configurations")
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.type is not None and not isinstance(value.type, (ir.TensorType, ir.SequenceType)):
            raise ModelError(f"onnx-graphsurgeon can't hold the model: {value.name!r} is of type {value.type}")
    for function in model.functions.values():
        if function.overload:
            raise ModelError(f"onnx-graphsurgeon can't hold the model: function {function.name!r} is overloaded")
    owners: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for owner in owners:
        for node in owner.all_nodes():
            _refuse_node(node)


def _refuse_node(node: ir.Node) -> None:
    if node.overload:
        raise ModelError(f"onnx-graphsurgeon can't hold {node.op_type} {node.name!r}: it calls an overloaded function")
    for attribute in node.attributes.values():
        if attribute.type not in _PLAIN:
            raise ModelError(
                f"onnx-graphsurgeon can't hold {node.op_type} {node.name!r}: attribute {attribute.name!r} is of type "
                f"{attribute.type.name}"
            )


def _require() -> None:
    try:
        importlib.import_module("onnx_graphsurgeon")
    except ImportError as error:
        raise MissingDependencyError(
            "onnx-graphsurgeon is needed for gs.Graph: pip install 'chanc[graphsurgeon]'"
        ) from error
