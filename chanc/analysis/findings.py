"""What a pass over the nodes of a graph finds: what solving, grouping and rewriting read.

It has, for each value, a layout (where its channels are) and, for small integer tensors, the content (so that
Shape -> Gather -> Concat -> Reshape chains are read through). Rules report labels that are one channel, labels that
must go together and labels that must stay, each through the `Context` of its node. Nothing is decided yet:
`chanc.analysis.solve` does that when the pass is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.disjoint_set import DisjointSet, IntArray
from chanc.analysis.initializers import Initializers, ParameterAxis, Use
from chanc.analysis.layout import Field, Layout, Opaque, Slot
from chanc.analysis.roles import Roles
from chanc.ir.nodes import subgraphs

Array = NDArray[np.generic]

DATA_LIMIT = 1 << 20
"""Constants of integers up to this size (elements) are read through."""


MOST_LABELS = 1 << 26
"""Labels of a graph: what is done with them takes some dozens of bytes each."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Why labels must stay: the tensor and node at which they meet something that can't change."""

    tensor: str
    node: str
    op: str
    reason: str


class Sum(NamedTuple):
    """A sum over channels without weights: of a product of these inputs of a node.

    strict: it is inexact already where nobody can tell whether channels that go are zero.
    """

    labels: IntArray
    operands: tuple[Use, ...]
    reason: str
    strict: bool


@dataclass(slots=True, repr=False)
class Findings:
    """What was found in a graph, by value, node or label.

    `layouts`, `sequences` (a row of layouts each) and `data` are of values. `channels` unites labels that are one
    channel, `couplings` labels that go together. `pins` are labels that stay; `inexact` those whose removal changes the
    function of the rest, `sums` those whose removal may, `unscaled` those whose repetition does, each with its reason;
    `undivided` those whose consumers' weights can't be shared out, so that the first copy must keep them; `heads` those
    of which whole attention heads go; `segments` are parts of an axis that form groups of their own; `rows` labels of
    which no unit may reach from the first to the last. `views` are layouts that were cut into factors, and what is
    repeated of them; `seams` places where rather a seam than a block is (both for `chanc.analysis.order`). `opaque`
    nodes are not understood, and `held` initializers keep their shape, for the reason given. `modes` tell how nodes
    were read where sizes alone would decide. `weights` are values computed from initializers alone, `bent` those in
    which a half of a weight is no half any more, and why. `fed` initializers are inputs that a caller may feed: nothing
    is known of what they hold. `lines` are what labels were broadcast along, by (first label, number of labels).
    `sources` says of values computed from shapes which label arrays in `read` their content may tell the number of.
    Where open axes have sizes given, `open_data` is what `data` was without. `asked` are values whose
    readers a rule looked at.
    """

    graph: ir.Graph
    opset: int
    layouts: dict[ir.Value, Layout] = field(default_factory=dict)
    data: dict[ir.Value, Array] = field(default_factory=dict)
    sequences: dict[ir.Value, tuple[Layout, ...]] = field(default_factory=dict)
    initializers: Initializers = field(default_factory=Initializers)
    roles: Roles = field(default_factory=Roles)
    channels: DisjointSet = field(default_factory=DisjointSet)
    couplings: DisjointSet = field(default_factory=DisjointSet)
    pins: list[tuple[IntArray, Pin]] = field(default_factory=list)
    inexact: list[tuple[IntArray, str]] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    unscaled: list[tuple[IntArray, str]] = field(default_factory=list)
    undivided: list[IntArray] = field(default_factory=list)
    heads: list[IntArray] = field(default_factory=list)
    segments: list[IntArray] = field(default_factory=list)
    opaque: dict[ir.Node, str] = field(default_factory=dict)
    seams: list[tuple[int, int]] = field(default_factory=list)
    views: list[tuple[Layout, Slot | None]] = field(default_factory=list)
    rows: list[tuple[IntArray, Pin]] = field(default_factory=list)
    modes: dict[object, str] = field(default_factory=dict)
    weights: set[ir.Value] = field(default_factory=set)
    bent: dict[ir.Value, str] = field(default_factory=dict)
    held: dict[ir.Value, str] = field(default_factory=dict)
    fed: frozenset[ir.Value] = frozenset()
    lines: dict[tuple[int, int], list[IntArray]] = field(default_factory=dict)
    sources: dict[ir.Value, frozenset[int]] = field(default_factory=dict)
    read: list[IntArray] = field(default_factory=list)
    open_data: dict[ir.Value, Array] | None = None
    asked: set[ir.Value] = field(default_factory=set)
    label_count: int = 0

    def __repr__(self) -> str:
        counts = f"{self.label_count} labels, {len(self.layouts)} layouts, {len(self.parameters)} parameter axes"
        return f"<Findings in '{self.graph.name}': {counts}>"

    @property
    def parameters(self) -> list[ParameterAxis]:
        """The axes of initializers that have labels."""
        return self.initializers.axes

    def fresh(self, size: int) -> IntArray:
        """New labels: [size]. Opaque where they are too many: an empty weight may claim any size."""
        start = self.label_count
        if start + size > MOST_LABELS:
            raise Opaque(f"it has {size} channels, with which the graph has more than {MOST_LABELS}")
        self.label_count += size
        return self.channels.line(start, size)

    def fields_of(self, value: ir.Value) -> tuple[Field, ...]:
        """The fields of a tensor, or of all tensors of a sequence."""
        layouts = (*self.sequences.get(value, ()), *([self.layouts[value]] if value in self.layouts else []))
        return tuple(field for layout in layouts for field in layout.fields)

    def hold(self, value: ir.Value, reason: str) -> None:
        """An initializer that must keep its shape wherever else it is used: it enters what is not understood."""
        self.held[value] = reason

    def forget(self, graph: ir.Graph) -> None:
        """Drop what is known of a body's values; labels that were united stay so."""
        for inner in (graph, *subgraphs(graph)):
            for value in (*inner.inputs, *(output for node in inner for output in node.outputs)):
                self.layouts.pop(value, None)
                self.data.pop(value, None)
                self.sequences.pop(value, None)
            for node in inner:
                self.opaque.pop(node, None)
