"""A node that is being rewritten, as its rule sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.layout import Layout
from chanc.errors import IllegalMove
from chanc.ir.initializers import add_constant, constant
from chanc.ir.names import Names
from chanc.ir.nodes import called
from chanc.rewriter.axis_maps import Resize, remap


class Stuck(IllegalMove):
    """A tensor or a node that can't follow a resize; `labels` are those of its channels."""

    def __init__(self, message: str, labels: IntArray) -> None:
        super().__init__(message)
        self.labels = labels


@dataclass(frozen=True, slots=True)
class Site:
    """One node, the layouts around it before the resize, the resize, and the names that are free.

    `unordered` gathers the values whose copies stand in another order than their layouts have them.
    """

    node: ir.Node
    findings: Findings
    resize: Resize
    names: Names
    unordered: set[ir.Value] = field(default_factory=set)

    def __repr__(self) -> str:
        return f"<Site of {self.node.op_type} '{called(self.node)}'>"

    @property
    def graph(self) -> ir.Graph:
        """The graph in which the node stands: the main one, or a body."""
        found = self.node.graph
        assert isinstance(found, ir.Graph)
        return found

    def layout(self, index: int) -> Layout | None:
        """The layout of an input before the resize; None for a constant without channels."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            return None
        found = self.findings.layouts.get(value)
        return self.findings.initializers.seen(value, (self.node, index)) if found is None else found

    def result(self, index: int = 0) -> Layout:
        """The layout of an output before the resize."""
        found = self.findings.layouts.get(self.node.outputs[index])
        if found is None:
            raise IllegalMove(f"the shape of '{self.node.outputs[index].name}' is not known")
        return found

    def sizes(self, layout: Layout) -> tuple[Size, ...]:
        """The sizes of a layout's axes after the resize."""
        return self.resize.sizes(layout)

    def shape(self, value: ir.Value, layout: Layout) -> ir.Shape | None:
        """The declared shape of a value after the resize, for one that takes its place; names of dynamic axes stay."""
        if value.shape is None:
            return None
        sizes = self.sizes(layout)
        return ir.Shape([n if isinstance(n, int) else value.shape[k] for k, n in enumerate(sizes)])

    def source(self, layout: Layout | None, axis: int) -> IntArray | None:
        """For each new position of an axis the old one; None where it stays."""
        return None if layout is None else self.resize.source(layout, axis)

    def constant(self, index: int) -> NDArray[np.generic] | None:
        """The content of an input as the analysis knows it."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            return None
        if value in self.findings.data:
            return self.findings.data[value]
        return value.const_value.numpy() if value.const_value is not None else None

    def attribute(self, name: str, default: int) -> int:
        """An integer attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else found.as_int()

    def computed(self, index: int) -> bool:
        """Whether an input is computed while the model runs, even where its content is known at the sizes given."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        return value is not None and value.const_value is None

    def open_entries(self, index: int) -> list[bool]:
        """For each entry of a known input whether it follows from open axes, be they given a size or not."""
        value, known, open_data = self.node.inputs[index], self.constant(index), self.findings.open_data
        if value is not None and open_data is not None and value in open_data:
            known = open_data[value]
        return [isinstance(n, Dim) for n in known.ravel().tolist()] if known is not None else []

    def set_attribute(self, name: str, value: int | list[int]) -> None:
        """Replace an attribute."""
        attribute = ir.AttrInt64(name, value) if isinstance(value, int) else ir.AttrInt64s(name, value)
        self.node.attributes[name] = attribute

    def set_input(self, index: int, array: NDArray[np.generic]) -> None:
        """Give this node a constant of its own at an input; no other node sees it."""
        old = self.node.inputs[index] if index < len(self.node.inputs) else None
        if old is not None and _sole(old):
            new = constant(old.name or "", array)
            old.const_value, old.type, old.shape = new.const_value, new.type, new.shape
            return
        base = (old.name if old is not None else None) or self.node.outputs[0].name
        value = add_constant(self.findings.graph, self.names.fresh(f"{base}.resized"), array)
        if index >= len(self.node.inputs):
            self.node.resize_inputs(index + 1)
        self.node.replace_input_with(index, value)

    def reorder(self, given: dict[int, IntArray]) -> None:
        """Follow the node by a Gather for each axis whose order is another one than that of the result's layout.

        `given` has the old position of each new one as the node makes them, by axis.
        """
        result = self.result()
        for axis, positions in given.items():
            places = np.arange(int(str(result.size(axis))), dtype=np.int64)
            wanted = self.source(result, axis)
            if not np.array_equal(positions, places if wanted is None else wanted):
                self._gathered(axis, remap(places, positions, wanted, places.size))

    def _gathered(self, axis: int, positions: IntArray) -> None:
        """Every user of the output reads it through a Gather."""
        old, result = self.node.outputs[0], self.result()
        gather = ir.node("Gather", [old, None], {"axis": axis})
        new = gather.outputs[0]
        new.name, new.type = self.names.fresh(f"{old.name}.ordered"), old.type
        new.shape = self.shape(old, result)
        for user, index in tuple(old.uses()):
            if user is not gather:
                user.replace_input_with(index, new)
        self.findings.graph.insert_after(self.node, gather)
        self.findings.layouts[new] = result
        self.unordered.add(old)
        Site(gather, self.findings, self.resize, self.names, self.unordered).set_input(1, positions)

    def integers(self, sizes: tuple[Size, ...]) -> list[int]:
        """Sizes that must all be known."""
        if any(isinstance(size, Dim) for size in sizes):
            raise IllegalMove(f"{self.node.op_type} '{self.node.outputs[0].name}' needs sizes that aren't known")
        return [int(str(size)) for size in sizes]


def _sole(value: ir.Value) -> bool:
    """Whether a value is an initializer that one node reads, at one place."""
    private = value.producer() is None and not value.is_graph_input() and not value.is_graph_output()
    return private and value.const_value is not None and len(value.uses()) == 1
