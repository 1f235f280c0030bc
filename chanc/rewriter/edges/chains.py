"""Where a consumer's share of a tensor is best cut out of it.

A cut may stand anywhere on the consumer's private chain, the nodes before it that nothing else reads: what is behind
it becomes narrower. Moving elements costs as much as some multiply-accumulates, so there is a cheapest place, which may
be none: then the consumer reads zeros.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.cost.cost import NodeCost
from chanc.cost.sizes import Unknown
from chanc.ir.nodes import bodies, called
from chanc.ops import Trait, has
from chanc.rewriter.edges.lines import line_of, units_of
from chanc.rewriter.edges.plan import Mask, Place

CUT = 40.0
"""What it costs to cut an element out of a tensor by Slice or Gather, which cost the same, in multiply-accumulates of a
convolution: measured in onnxruntime, whose convolutions want another layout (benchmarks/results/edges.md)."""
POINT = 10.0
"""The same for an element that is computed from a few others."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One consumer and the nodes before it that are its own.

    kept, read: for each unit whether this consumer keeps it, and whether any reader of it does: [labels]. takers: the
    nodes that make channels of others, where every chain ends. macs: of a sample, by node.
    """

    analysis: Analysis
    kept: Mask
    read: Mask
    takers: Collection[ir.Node]
    macs: Mapping[str, NodeCost]

    def cheapest(self, node: ir.Node) -> tuple[float, list[Place]]:
        """What is saved by cutting at the best places, a share of what the consumer and its chain cost; no place: 0."""
        index = data_input(self.analysis, node)
        if index is None:
            return 0.0, []
        cost, places = self._best(node, index)
        value = node.inputs[index]
        if value is None or not math.isfinite(cost):
            return 0.0, []
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
        here = CUT * self._elements(value) * kept + self._whole(value)
        best = (here if line_of(self.analysis, value) is not None else math.inf, [(node, index)])
        maker, inputs = self._inside(value)
        before = [v for k in inputs if maker is not None and (v := maker.inputs[k]) is not None]
        # A branch of which nothing is kept would still leave a channel; behind the Concat it goes as a whole.
        if maker is None or not all(self._share(v, self.kept) for v in before):
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
        if node is None or node in self.takers or bodies(node) or len(node.outputs) > 1:
            return None, []
        if len(value.uses()) != 1 or value.is_graph_output():
            return None, []
        inputs = _computed(self.analysis, node)
        before = [units_of(self.analysis, v) for k in inputs if (v := node.inputs[k]) is not None]
        if not before or not all(units.size for units in before):
            return None, []
        same = np.array_equal(np.unique(np.concatenate(before)), units_of(self.analysis, value))
        return (node, inputs) if same else (None, [])

    def _share(self, value: ir.Value, mask: Mask) -> float:
        """The share of a value's positions that are of some units."""
        line = line_of(self.analysis, value)
        units = units_of(self.analysis, value) if line is None else self.analysis.units.unit[line[1]]
        return float(mask[units].mean()) if units.size else 1.0

    def _work(self, node: ir.Node) -> float:
        found = self.macs.get(called(node))
        return float(found.macs) if found is not None else 0.0

    def _cost(self, node: ir.Node, share: float) -> float:
        """The cost of a node of the chain for a share of its channels; views cost nothing."""
        moved = 0.0 if has(node, Trait.RESHAPE) else POINT * self._elements(node.outputs[0])
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


def data_input(analysis: Analysis, node: ir.Node) -> int | None:
    """The one input of a convolution or a product that is computed from the graph's inputs; None elsewhere."""
    found = _computed(analysis, node) if has(node, Trait.CONVOLUTION, Trait.LINEAR) else []
    return found[0] if len(found) == 1 and node.graph is analysis.model.graph else None


def _computed(analysis: Analysis, node: ir.Node) -> list[int]:
    weights = analysis.findings.weights
    return [k for k, v in enumerate(node.inputs) if v is not None and v.const_value is None and v not in weights]
