"""`onnx_ir` to onnx-graphsurgeon. Imports onnx_graphsurgeon: only `chanc.ir.graphsurgeon` imports this."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter
from onnx_graphsurgeon.ir.tensor import LazyValues
from onnx_graphsurgeon.util.misc import convert_from_onnx_attr_type

from chanc.errors import ModelError

_NO_NUMPY = frozenset(
    ir.DataType[name] for name in ("BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ")
)
"""Types that graphsurgeon itself keeps as ONNX numbers instead of numpy types."""


class SharedValues(LazyValues):  # type: ignore[misc]
    """Values of a `gs.Constant` that stay in an `onnx_ir` tensor until they are touched.

    graphsurgeon's own lazy values fail on sub-byte types and look for external data in the working directory.
    """

    def __init__(self, source: ir.TensorProtocol, in_main_graph: bool, position: int) -> None:
        self.source = source
        self.in_main_graph = in_main_graph
        self.position = position
        self.shape = list(source.shape.numpy())
        self.dtype = gs_dtype(source.dtype)
        self.nbytes = source.nbytes

    @property
    def tensor(self) -> onnx.TensorProto:
        """A fresh message for graphsurgeon's exporter, which renames what it gets."""
        proto = onnx.TensorProto()
        proto.CopyFrom(ir.to_proto(self.source))
        return proto

    def load(self) -> np.ndarray[Any, Any]:
        """A writable copy of the values."""
        return np.array(self.source.numpy())


def gs_dtype(dtype: ir.DataType) -> Any:
    """A numpy type, or the ONNX number where graphsurgeon has no numpy type for it."""
    if dtype in _NO_NUMPY:
        return int(dtype)
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(int(dtype))
    except KeyError as error:
        raise ModelError(f"onnx-graphsurgeon can't hold tensors of type {dtype.name}") from error


class GraphWriter:
    """Builds `gs.Graph`s of one model."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.imports = [onnx.helper.make_opsetid(d, v) for d, v in model.graph.opset_imports.items()]
        self.opset = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx"))

    def graph(self, graph: ir.Graph, outer: dict[ir.Value, gs.Tensor]) -> gs.Graph:
        """One graph; `outer` has the tensors of the graphs around it."""
        main = graph is self.model.graph
        known = dict(outer)
        for position, value in enumerate(graph.initializers.values()):
            if value.const_value is not None:
                known[value] = gs.Constant(value.name, SharedValues(value.const_value, main, position))
        inputs = [self.tensor(value, known) for value in graph.inputs if value.name not in graph.initializers]
        # Before the nodes: a subgraph may read what the graph around it computes later in the list.
        for node in graph:
            for value in node.outputs:
                self.tensor(value, known)
        nodes = [self.node(node, known) for node in graph]
        outputs = [self.tensor(value, known) for value in graph.outputs]
        shared = {"name": graph.name or "", "doc_string": graph.doc_string or "", "opset": self.opset}
        if not main:
            return gs.Graph(nodes, inputs, outputs, import_domains=self.imports, **shared)
        functions = [self.function(function) for function in self.model.functions.values()]
        return gs.Graph(
            nodes,
            inputs,
            outputs,
            import_domains=self.imports,
            functions=functions,
            producer_name=self.model.producer_name or "",
            producer_version=self.model.producer_version or "",
            ir_version=self.model.ir_version,
            **shared,
        )

    def tensor(self, value: ir.Value, known: dict[ir.Value, gs.Tensor]) -> gs.Tensor:
        """The tensor of a value, made at first use."""
        if not value.name:
            return gs.Variable.empty()
        if value not in known:
            known[value] = _variable(value)
        return known[value]

    def node(self, node: ir.Node, known: dict[ir.Value, gs.Tensor]) -> gs.Node:
        """One node with its attributes."""
        inputs = [gs.Variable.empty() if value is None else self.tensor(value, known) for value in node.inputs]
        return gs.Node(
            node.op_type,
            node.name or "",
            {name: self.attribute(attribute, known) for name, attribute in node.attributes.items()},
            inputs,
            [self.tensor(value, known) for value in node.outputs],
            node.domain or None,
        )

    def attribute(self, attribute: ir.Attr, known: dict[ir.Value, gs.Tensor]) -> Any:
        """The value of an attribute as graphsurgeon holds it."""
        if attribute.is_ref():
            return gs.Node.AttributeRef(attribute.ref_attr_name, convert_from_onnx_attr_type(int(attribute.type)))
        if attribute.type == ir.AttributeType.GRAPH:
            return self.graph(attribute.as_graph(), known)
        if attribute.type == ir.AttributeType.TENSOR:
            return gs.Constant(attribute.value.name or "", SharedValues(attribute.value, False, 0))
        value = attribute.value
        return list(value) if isinstance(value, (list, tuple)) else value

    def function(self, function: ir.Function) -> Any:
        """A model-local function, through graphsurgeon's importer."""
        try:
            return OnnxImporter.import_function(ir.to_proto(function), self.opset, self.imports)
        except Exception as error:
            raise ModelError(f"onnx-graphsurgeon can't hold function {function.name!r}: {error}") from error


def _variable(value: ir.Value) -> gs.Variable:
    variable = gs.Variable(value.name)
    plain = value.type is None or isinstance(value.type, (ir.TensorType, ir.SequenceType))
    if plain and value.dtype is not None:
        variable.dtype = gs_dtype(value.dtype)
        variable.type = "tensor_type" if isinstance(value.type, ir.TensorType) else "sequence_type"
    if plain and value.shape is not None:
        variable.shape = [size if isinstance(size, int) else size.value for size in value.shape]
    return variable
