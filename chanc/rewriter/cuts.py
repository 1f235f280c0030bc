"""Where a consumer's share of a tensor is cut out of it, and what is made of the cuts in the end.

A cut may stand anywhere on the consumer's private chain, the nodes before it that nothing else reads: what is behind
it becomes narrower. Moving elements costs as much as some multiply-accumulates, so there is a cheapest place, which may
be none: then the consumer reads zeros.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import axis_labels, merge
from chanc.cost.sizes import Unknown
from chanc.ir.initializers import add_constant
from chanc.ir.names import Names
from chanc.ir.nodes import bodies, called
from chanc.ops import Trait, has

DOMAIN = "chanc"
MOVED = 16.0
"""What it costs to write an element that is only moved, or computed from one or two others, in multiply-accumulates
(`benchmarks/edges.py`)."""

Mask = NDArray[np.bool_]
Place = tuple[ir.Node, int]
"""A node, and the input before which a cut is put."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One consumer and the nodes before it that are its own.

    kept, read: for each unit whether this consumer keeps it, and whether any reader of it does: [labels].
    """

    analysis: Analysis
    kept: Mask
    read: Mask

    def cheapest(self, node: ir.Node) -> tuple[float, list[Place]]:
        """What is saved by cutting at the best places, a share of what the consumer and its chain cost; no place: 0."""
        index = data_input(self.analysis, node)
        if index is None:
            return 0.0, []
        cost, places = self._best(node, index)
        value = node.inputs[index]
        assert value is not None
        before = self._work(node) * self._share(value, self.read) + self._whole(value)
        after = self._work(node) * self._share(value, self.kept) + cost
        return (before - after) / max(before, 1.0), places

    def _best(self, node: ir.Node, index: int) -> tuple[float, list[Place]]:
        """The least cost of what is before a node's input, and where to cut for it; infinite where no place is."""
        value = node.inputs[index]
        assert value is not None
        kept, read = self._share(value, self.kept), self._share(value, self.read)
        if kept == read:
            return self._whole(value), []
        here = MOVED * self._elements(value) * kept + self._whole(value)
        best = (here if line_of(self.analysis, value) is not None else math.inf, [(node, index)])
        maker, inputs = self._inside(value)
        if maker is None or any(self._share(value, self.kept) == 0 for value in map(maker.inputs.__getitem__, inputs)
                                if value is not None):  # fmt: skip
            return best
        parts = [self._best(maker, k) for k in inputs]
        deeper = self._cost(maker, kept) + sum(cost for cost, _ in parts)
        return (deeper, [place for _, places in parts for place in places]) if deeper < best[0] else best

    def _whole(self, value: ir.Value) -> float:
        """The cost of the private nodes that make a value, as wide as its readers need it."""
        maker, inputs = self._inside(value)
        if maker is None:
            return 0.0
        before = (maker.inputs[k] for k in inputs)
        return self._cost(maker, self._share(value, self.read)) + sum(self._whole(v) for v in before if v is not None)

    def _inside(self, value: ir.Value) -> tuple[ir.Node | None, list[int]]:
        """The node of the private chain that makes a value, and its inputs with channels; None at the chain's head."""
        node = value.producer()
        if node is None or bodies(node) or len(value.uses()) != 1 or value.is_graph_output():
            return None, []
        inputs = _computed(self.analysis, node)
        before = [self._units(value) for k in inputs if (value := node.inputs[k]) is not None]
        if not before or not all(units.size for units in before):
            return None, []
        same = np.array_equal(np.unique(np.concatenate(before)), self._units(value))
        return (node, inputs) if same and len(node.outputs) == 1 else (None, [])

    def _units(self, value: ir.Value) -> IntArray:
        fields = self.analysis.findings.fields_of(value)
        labels = [np.empty(0, dtype=np.int64), *(field.labels.ravel() for field in fields)]
        return np.unique(self.analysis.units.unit[np.concatenate(labels)])

    def _share(self, value: ir.Value, mask: Mask) -> float:
        """The share of a value's positions that are of some units."""
        line = line_of(self.analysis, value)
        units = self._units(value) if line is None else self.analysis.units.unit[line[1]]
        return float(mask[units].mean()) if units.size else 1.0

    def _work(self, node: ir.Node) -> float:
        found = self.analysis.node_costs().get(called(node))
        return float(found.macs) if found is not None else 0.0

    def _cost(self, node: ir.Node, share: float) -> float:
        """The cost of a node of the chain for a share of its channels; views cost nothing."""
        moved = 0.0 if has(node, Trait.RESHAPE) else MOVED * self._elements(node.outputs[0])
        return share * (self._work(node) + moved)

    def _elements(self, value: ir.Value) -> float:
        node, sizes = value.producer(), self.analysis.sizes()
        if node is None:
            layout = self.analysis.findings.layouts.get(value)
            found = [n for n in layout.sizes if isinstance(n, int)] if layout is not None else []
            return float(math.prod(found))
        try:
            return float(math.prod(sizes.output(node, value.index() or 0))) / float(sizes.batch)
        except Unknown:
            return 0.0


def line_of(analysis: Analysis, value: ir.Value) -> tuple[int, IntArray] | None:
    """The axis along which a value has its channels, and their labels: [size]; None where it isn't one axis."""
    layout = analysis.findings.layouts.get(value)
    axes = {axis for field in layout.fields for axis in field.axes} if layout is not None else set()
    if layout is None or len(axes) != 1:
        return None
    (axis,) = axes
    fields = merge(layout, axis).on(axis)
    return (axis, axis_labels(fields[0], axis)[:, 0]) if len(fields) == 1 else None


def data_input(analysis: Analysis, node: ir.Node) -> int | None:
    """The one input of a convolution or a product that is computed from the graph's inputs; None elsewhere."""
    found = _computed(analysis, node) if has(node, Trait.CONVOLUTION, Trait.LINEAR) else []
    return found[0] if len(found) == 1 and node.graph is analysis.model.graph else None


def _computed(analysis: Analysis, node: ir.Node) -> list[int]:
    weights = analysis.findings.weights
    return [k for k, v in enumerate(node.inputs) if v is not None and v.const_value is None and v not in weights]


def insert_cut(analysis: Analysis, place: Place, names: Names) -> ir.Node:
    """Put a Cut that takes nothing away before a node's input."""
    node, index = place
    value = node.inputs[index]
    line = line_of(analysis, value) if value is not None else None
    assert value is not None and line is not None
    made = ir.node("Cut", [value], {"axis": line[0]}, domain=DOMAIN)
    output = made.outputs[0]
    output.name, output.type, output.shape = names.fresh(f"{value.name}.cut"), value.type, value.shape
    assert isinstance(node.graph, ir.Graph)
    node.graph.insert_before(node, made)
    node.replace_input_with(index, output)
    return made


def take_out(cut: ir.Node) -> None:
    """Let the readers of a Cut read what it reads."""
    value = cut.inputs[0]
    assert value is not None and cut.graph is not None
    cut.outputs[0].replace_all_uses_with(value)
    cut.graph.remove(cut, safe=True)


def is_cut(node: ir.Node | None) -> bool:
    """Whether a node is a Cut."""
    return node is not None and node.op_type == "Cut" and node.domain == DOMAIN


def settle(model: ir.Model, cuts: Collection[ir.Node], names: Names) -> dict[ir.Node, str]:
    """Make standard operators of all Cuts; what each became: "whole", "slice", "gather"."""
    for concat in {value.producer(): None for cut in cuts if (value := cut.inputs[0]) is not None}:
        if concat is not None and concat.op_type == "Concat" and concat.graph is model.graph:
            _drop_unread(concat)
    twins: dict[tuple[ir.Value | None, bytes], ir.Value] = {}
    return {cut: _settled(model.graph, cut, twins, names) if cut.graph is not None else "whole" for cut in cuts}


def _settled(graph: ir.Graph, cut: ir.Node, twins: dict[tuple[ir.Value | None, bytes], ir.Value], names: Names) -> str:
    value, output, axis = cut.inputs[0], cut.outputs[0], cut.attributes["axis"].as_int()
    size, kept = _size(value, axis), _kept(cut)
    if kept is None or (kept.size == size and np.array_equal(kept, np.arange(size))):
        take_out(cut)
        return "whole"
    sliced = kept[-1] - kept[0] == kept.size - 1 and bool((np.diff(kept) == 1).all()) and _opset(graph) >= 10
    known = twins.get((value, kept.tobytes()))
    if known is None:
        bounds = [[kept[0]], [kept[-1] + 1], [axis]] if sliced else [kept]
        inputs = [value, *(_integers(graph, names, f"{output.name}.{k}", row) for k, row in enumerate(bounds))]
        made = ir.node("Slice", inputs) if sliced else ir.node("Gather", inputs, {"axis": axis})
        known = made.outputs[0]
        known.name, known.type, known.shape = names.fresh(f"{output.name}.kept"), output.type, output.shape
        graph.insert_before(cut, made)
        twins[value, kept.tobytes()] = known
    output.replace_all_uses_with(known)
    graph.remove(cut, safe=True)
    return "slice" if sliced else "gather"


def _integers(graph: ir.Graph, names: Names, name: str, numbers: Collection[int] | IntArray) -> ir.Value:
    return add_constant(graph, names.fresh(name), np.asarray(numbers, dtype=np.int64))


def _opset(graph: ir.Graph) -> int:
    return graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 1))


def _kept(cut: ir.Node) -> IntArray | None:
    found = cut.attributes.get("kept")
    return np.array(found.as_ints(), dtype=np.int64) if found is not None else None


def _size(value: ir.Value | None, axis: int) -> int | None:
    """The size of an axis, as it is declared or stored; None where that isn't known."""
    shape = value.shape if value is not None else None
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None


def _drop_unread(concat: ir.Node) -> None:
    """Take out of a Concat the inputs of which none of its readers, all of them Cuts, keeps anything."""
    output = concat.outputs[0]
    cuts = [user for user, _ in output.uses()]
    axis = concat.attributes["axis"].as_int() % (len(output.shape) if output.shape is not None else 1)
    sizes = [_size(value, axis) for value in concat.inputs]
    rows = [(cut, kept) for cut in cuts if is_cut(cut) and (kept := _kept(cut)) is not None]
    same = all(cut.attributes["axis"].as_int() == axis for cut, _ in rows)
    if output.is_graph_output() or len(rows) < len(cuts) or not same or None in sizes or not rows:
        return
    owner = np.repeat(np.arange(len(sizes)), np.array(sizes, dtype=np.int64))
    used = np.isin(np.arange(len(sizes)), owner[np.concatenate([kept for _, kept in rows])])
    if used.all():
        return
    moved = np.cumsum(used[owner]) - 1
    for cut, kept in rows:
        cut.attributes["kept"] = ir.AttrInt64s("kept", moved[kept].tolist())
    _rejoin(concat, [value for value, stays in zip(concat.inputs, used.tolist(), strict=True) if stays], axis)


def _rejoin(concat: ir.Node, values: list[ir.Value | None], axis: int) -> None:
    """Let a Concat join these values alone."""
    output = concat.outputs[0]
    dropped = [value.producer() for value in concat.inputs if value is not None and value not in values]
    if len(values) == 1 and values[0] is not None:
        output.replace_all_uses_with(values[0])
        sweep(concat.graph, [concat])
        return
    for index, value in enumerate(values):
        concat.replace_input_with(index, value)
    concat.resize_inputs(len(values))
    if output.shape is not None:
        total = sum(_size(value, axis) or 0 for value in values)
        output.shape = ir.Shape([total if k == axis else size for k, size in enumerate(output.shape)])
    sweep(concat.graph, dropped)


def sweep(graph: ir.Graph | ir.Function | None, starts: Iterable[ir.Node | None]) -> None:
    """Take nodes out of a graph that nothing reads any more: these, and those before them."""
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node is None or graph is None or node.graph is not graph:
            continue
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            continue
        waiting += [value.producer() for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
