"""The network as a drawing needs it: layers as nodes, elementwise operators merged into the edges between them.

A layer (convolution or linear) has two halves, its in and its out width, cut into segments by channel group. Joins
(Add, Concat, ...), splits and pinned operators are nodes of their own; whatever has one source is merged into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis, Operand

CONVOLUTIONS = ("Conv", "ConvTranspose")
LINEAR = ("Gemm", "MatMul")
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean", "Pow", "Where")
MAX_SEGMENTS = 48


@dataclass(frozen=True)
class Segment:
    """A run of channels on one side of a node: `group` is the index of its group, or -1 where it is in none."""

    group: int
    channels: int
    reason: str = ""


@dataclass
class Vertex:
    """A node of the drawing. `kind`: layer, op, input or output; `after` lists the operators merged behind it."""

    name: str
    op: str
    kind: str
    label: str
    detail: str = ""
    inside: tuple[Segment, ...] = ()
    outside: tuple[Segment, ...] = ()
    pinned: str = ""
    after: list[str] = field(default_factory=list)


@dataclass
class Network:
    """Vertices in topological order and the edges between them."""

    vertices: list[Vertex] = field(default_factory=list)
    edges: dict[tuple[int, int], None] = field(default_factory=dict)


class _Builder:
    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.graph = analysis.model.graph
        self.network = Network()
        self.source: dict[ir.Value, int] = {}
        self.operands: dict[str, list[tuple[int, Operand]]] = {}
        for index, group in enumerate(analysis.groups):
            for operand in group.operands:
                self.operands.setdefault(operand.node, []).append((index, operand))
        self.pins = {pin.node: pin.reason for pin in reversed(analysis.pinned) if pin.node}
        self.tensor_pins = {pin.tensor: pin.reason for pin in reversed(analysis.pinned)}

    def build(self) -> Network:
        for value in self.graph.inputs:
            if value.name not in self.graph.initializers:
                shape = "×".join(str(size) for size in value.shape) if value.shape is not None else "?"
                vertex = Vertex(value.name or "", "Input", "input", _short(value.name), shape)
                self.source[value] = self._add(vertex, ())
        for node in self.graph:
            self._visit(node)
        for value in self.graph.outputs:
            if value in self.source:
                vertex = Vertex(value.name or "", "Output", "output", _short(value.name))
                self._add(vertex, [self.source[value]])
        return self.network

    def _visit(self, node: ir.Node) -> None:
        reads = [*node.inputs, *_captures(node)]
        sources = list(dict.fromkeys(self.source[value] for value in reads if value in self.source))
        if not sources:
            return
        layer = self._layer(node)
        pinned = self.pins.get(_key(node), "")
        if layer is None and len(sources) == 1 and len(node.outputs) == 1 and not pinned:
            self.network.vertices[sources[0]].after.append(node.op_type)
            index = sources[0]
        else:
            vertex = layer or self._operator(node, sources)
            vertex.pinned = pinned
            index = self._add(vertex, sources)
        for value in node.outputs:
            self.source[value] = index

    def _add(self, vertex: Vertex, sources: Iterable[int]) -> int:
        self.network.vertices.append(vertex)
        index = len(self.network.vertices) - 1
        self.network.edges.update(((source, index), None) for source in sources)
        return index

    def _operator(self, node: ir.Node, sources: Sequence[int]) -> Vertex:
        flows = [self.network.vertices[index].outside for index in sources]
        flow: tuple[Segment, ...] = ()
        if node.op_type == "Concat":
            flow = tuple(segment for segments in flows for segment in segments)
        elif node.op_type in ELEMENTWISE:
            flow = max(flows, key=lambda segments: sum(segment.channels for segment in segments))
        return Vertex(_key(node), node.op_type, "op", node.op_type, "", flow, flow)

    def _layer(self, node: ir.Node) -> Vertex | None:
        """Return the vertex of a convolution or a linear operator with a weight, None for any other node."""
        if node.op_type not in (*CONVOLUTIONS, *LINEAR):
            return None
        weight = next((value for value in node.inputs[1::-1] if value and value.const_value is not None), None)
        if weight is None or weight.const_value is None:
            return None
        shape = weight.const_value.shape.numpy()
        convolution = node.op_type in CONVOLUTIONS
        if len(shape) < (3 if convolution else 2):
            return None
        in_axis, out_axis, parts = _axes(node, len(shape))
        sides = {axis: self._segments(node, weight.name or "", axis, shape[axis]) for axis in (in_axis, out_axis)}
        split_axis = out_axis if node.op_type == "ConvTranspose" else in_axis
        if parts > 1 and shape[split_axis] == 1:
            sides[split_axis] = sides[in_axis + out_axis - split_axis]
        elif parts > 1:
            sides[split_axis] = tuple(Segment(s.group, s.channels * parts, s.reason) for s in sides[split_axis])
        kernel = "×".join(str(size) for size in shape[2:]) if convolution else ""
        name = (weight.name or node.name or _key(node)).removesuffix(".weight")
        return Vertex(_key(node), node.op_type, "layer", _short(name), kernel, sides[in_axis], sides[out_axis])

    def _segments(self, node: ir.Node, weight: str, axis: int, size: int) -> tuple[Segment, ...]:
        owner = np.full(size, -1, dtype=np.int64)
        for index, operand in self.operands.get(_key(node), []):
            if operand.initializer == weight and operand.axis == axis:
                positions = np.asarray(operand.indices, dtype=np.int64).ravel()
                owner[positions[(positions >= 0) & (positions < size)]] = index
        runs = [(int(group), sum(1 for _ in run)) for group, run in groupby(owner.tolist())]
        if len(runs) > MAX_SEGMENTS:
            # interleaved groups (a channel shuffle): one segment a group says as much and can be read
            runs = [(int(group), int((owner == group).sum())) for group in dict.fromkeys(owner.tolist())]
        return tuple(Segment(group, count, self._reason(group, node)) for group, count in runs)

    def _reason(self, group: int, node: ir.Node) -> str:
        if group >= 0:
            found = self.analysis.groups[group]
            return "" if found.resizable else found.reason or "pinned"
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        reasons = [self.tensor_pins[value.name] for value in values if value.name in self.tensor_pins]
        return self.pins.get(_key(node)) or next(iter(reasons), "") or "in no channel group"


def build_network(analysis: Analysis) -> Network:
    """Return the drawing's network of an analysed model."""
    return _Builder(analysis).build()


def _key(node: ir.Node) -> str:
    return (node.outputs[0].name if node.outputs else None) or node.name or ""


def _axes(node: ir.Node, rank: int) -> tuple[int, int, int]:
    """Return the weight's in axis, its out axis and the number of groups of the convolution (ONNX operator specs)."""
    if node.op_type in CONVOLUTIONS:
        group = node.attributes.get("group")
        parts = group.as_int() if group is not None else 1
        return (1, 0, parts) if node.op_type == "Conv" else (0, 1, parts)
    transposed = node.attributes.get("transB")
    if node.op_type == "Gemm" and transposed is not None and transposed.as_int():
        return 1, 0, 1
    return rank - 2, rank - 1, 1


def _captures(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values that the bodies of a control-flow node read, those of the outer graph among them."""
    for attribute in node.attributes.values():
        graphs = [attribute.value] if attribute.type.name == "GRAPH" else ()
        for graph in attribute.value if attribute.type.name == "GRAPHS" else graphs:
            for inner in graph:
                yield from (value for value in inner.inputs if value is not None)
                yield from _captures(inner)


def _short(name: str | None, limit: int = 26) -> str:
    name = name or ""
    return name if len(name) <= limit else "…" + name[1 - limit :]
