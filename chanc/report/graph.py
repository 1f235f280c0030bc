"""The network as a drawing needs it: layers as nodes, elementwise operators merged into the edges between them.

A layer (convolution or linear) has two halves, its in and its out width, cut into segments by channel group. Joins
(Add, Concat, ...), splits and pinned operators are nodes of their own; whatever has one source is merged into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chanc.ops import Trait, Weight, groups, has, spec_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis, Operand

MAX_SEGMENTS = 48

Positions = NDArray[np.int64]
Reads = Mapping[str, Mapping[str, Sequence[int]]]
"""The units that readers keep of their groups, by "<node's first output>:<input>", of those that don't keep all."""


@dataclass(frozen=True)
class Segment:
    """A run of channels on one side of a node: `group` is the index of its group, or -1 where it is in none.

    dropped: how many of them the node takes no notice of.
    """

    group: int
    channels: int
    reason: str = ""
    dropped: int = 0


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
    def __init__(self, analysis: Analysis, reads: Reads) -> None:
        self.analysis, self.reads = analysis, reads
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
        elif has(node, Trait.BROADCAST):
            flow = max(flows, key=lambda segments: sum(segment.channels for segment in segments))
        return Vertex(_key(node), node.op_type, "op", node.op_type, "", flow, flow)

    def _layer(self, node: ir.Node) -> Vertex | None:
        """Return the vertex of a convolution or a linear operator with a weight, None for any other node."""
        found = _matrix(node)
        if found is None:
            return None
        weight, shape, kind = found
        (in_axis,), (out_axis,) = kind.takes(node.attributes, len(shape)), kind.makes(node.attributes, len(shape))
        sides = {axis: self._segments(node, weight.name or "", axis, shape[axis]) for axis in (in_axis, out_axis)}
        parts = groups(node.attributes) if kind.kernel else 1
        # Axis 1 holds the channels of one group.
        if parts > 1 and shape[1] == 1:
            sides[1] = sides[0]
        elif parts > 1:
            sides[1] = tuple(Segment(s.group, s.channels * parts, s.reason, s.dropped * parts) for s in sides[1])
        kernel = "×".join(str(size) for size in shape[2:]) if kind.kernel else ""
        name = (weight.name or node.name or _key(node)).removesuffix(".weight")
        return Vertex(_key(node), node.op_type, "layer", _short(name), kernel, sides[in_axis], sides[out_axis])

    def _segments(self, node: ir.Node, weight: str, axis: int, size: int) -> tuple[Segment, ...]:
        owner, dropped = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=bool)
        for index, operand in self.operands.get(_key(node), []):
            if operand.initializer == weight and operand.axis == axis:
                positions = np.asarray(operand.indices, dtype=np.int64)
                owner[_within(positions, size)] = index
                dropped[_within(self._dropped(index, operand, positions), size)] = True
        runs = [run for run in np.split(np.arange(size), np.flatnonzero(np.diff(owner)) + 1) if run.size]
        if len(runs) > MAX_SEGMENTS:
            # interleaved groups (a channel shuffle): one segment a group says as much and can be read
            runs = [np.flatnonzero(owner == group) for group in dict.fromkeys(owner.tolist())]
        owners = [int(owner[run[0]]) for run in runs]
        return tuple(
            Segment(group, run.size, self._reason(group, node), int(dropped[run].sum()))
            for group, run in zip(owners, runs, strict=True)
        )

    def _dropped(self, index: int, operand: Operand, positions: Positions) -> Positions:
        """The positions of the units that a reader doesn't keep: [units, channels of a unit]."""
        kept = self.reads.get(f"{operand.node}:{operand.input}", {}).get(self.analysis.groups[index].id)
        return positions[:0] if kept is None or operand.role != "consumer" else np.delete(positions, list(kept), axis=0)

    def _reason(self, group: int, node: ir.Node) -> str:
        if group >= 0:
            found = self.analysis.groups[group]
            return "" if found.resizable else found.reason or "pinned"
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        reasons = [self.tensor_pins[value.name] for value in values if value.name in self.tensor_pins]
        return self.pins.get(_key(node)) or next(iter(reasons), "") or "in no channel group"


def build_network(analysis: Analysis, reads: Reads | None = None) -> Network:
    """Return the drawing's network of an analysed model; `reads`: the units that single readers keep, if not all."""
    return _Builder(analysis, reads or {}).build()


def _within(positions: Positions, size: int) -> Positions:
    return positions[(positions >= 0) & (positions < size)]


def _key(node: ir.Node) -> str:
    return (node.outputs[0].name if node.outputs else None) or node.name or ""


def _matrix(node: ir.Node) -> tuple[ir.Value, tuple[int, ...], Weight] | None:
    """Return the constant weight of a convolution or linear operator that has one axis to take channels and one to
    make them, with its shape; None for any other node.
    """
    spec = spec_of(node)
    if spec is None or not has(node, Trait.CONVOLUTION, Trait.LINEAR):
        return None
    for weight in reversed(spec.weights):
        value = node.inputs[weight.input] if weight.input < len(node.inputs) else None
        if value is None or value.const_value is None:
            continue
        shape = tuple(value.const_value.shape.numpy())
        takes, makes = (axes(node.attributes, len(shape)) for axes in (weight.takes, weight.makes))
        if len(takes) == len(makes) == 1:
            return value, shape, weight
    return None


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
