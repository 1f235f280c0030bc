"""What the rule of one node reports of channels; it goes into the findings of the whole graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis.dims import Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings, Pin, Sum
from chanc.analysis.initializers import Role, Use
from chanc.analysis.layout import Field, Layout, axis_labels
from chanc.analysis.reshaping import but_for_ones, regrouped, reshape
from chanc.ir.nodes import called
from chanc.ops import Trait, has


class Notes:
    """The findings, and the node that adds to them. Labels are arrays of any shape that fits what they meet."""

    __slots__ = ("findings", "inputs", "node")

    findings: Findings
    inputs: Sequence[ir.Value | None]
    node: ir.Node

    def fresh(self, size: int) -> IntArray:
        """New labels: [size]."""
        return self.findings.fresh(size)

    def same(self, left: IntArray, right: IntArray) -> None:
        """Left[i] and right[i] are one channel."""
        self.findings.channels.unite(left, right)

    def couple(self, left: IntArray, right: IntArray) -> None:
        """Left[i] and right[i] are different channels that can only go together."""
        self.findings.couplings.unite(left, right)

    def pin(self, labels: IntArray, reason: str, tensor: str = "") -> None:
        """These labels must stay."""
        self.findings.pins.append((labels.ravel(), self._here(reason, tensor)))

    def pin_sources(self, value: ir.Value | None, reason: str = "a size is computed from its width") -> None:
        """The channels whose number the content of a value may tell must stay."""
        for number in self.findings.sources.get(value, ()) if value is not None else ():
            self.pin(self.findings.read[number], reason)

    def _here(self, reason: str, tensor: str = "") -> Pin:
        name = called(self.node)
        return Pin(tensor or name, name, self.node.op_type, reason)

    def mark_inexact(self, labels: IntArray, reason: str) -> None:
        """Removing these labels changes the function of the rest (a normalisation across channels).

        Repeating them all alike keeps it, but for totals over channels and for weights that are normalised.
        """
        folds, node = has(self.node, Trait.REDUCTION), self.node
        made = node.outputs[0] in self.findings.weights
        if folds:
            reason = f"{node.op_type} '{called(node)}' folds {'weights over its channels' if made else 'its channels'}"
        if has(node, Trait.SUM) and not made:
            self.sums_up(labels, (0,), reason, strict=True)
        else:
            self.findings.inexact.append((labels.ravel(), reason))
        if folds and (made or has(node, Trait.TOTAL)):
            self.mark_unscaled(labels, reason)

    def sums_up(self, labels: IntArray, inputs: Iterable[int], reason: str, *, strict: bool) -> None:
        """The result has the sum over these labels of a product of inputs: inexact where no input is zero for them."""
        self.findings.sums.append(Sum(labels.ravel(), tuple(map(self.use, inputs)), reason, strict))

    def use(self, index: int) -> Use:
        """This node, and the input as it counts it."""
        return self.node, index

    def mark_unscaled(self, labels: IntArray, reason: str) -> None:
        """Repeating these labels changes the function, however their consumers' weights are shared out."""
        self.findings.unscaled.append((labels.ravel(), reason))

    def mark_undivided(self, labels: IntArray) -> None:
        """What consumes these labels can't be shared out among copies, but the first one can keep it, the rest 0."""
        self.findings.undivided.append(labels.ravel())

    def mark_heads(self, labels: IntArray) -> None:
        """Of these labels whole attention heads go."""
        self.findings.heads.append(labels.ravel())

    def mark(self, layout: Layout, axis: int, role: Role) -> None:
        """The parameters that label this axis are producers or consumers of their channels."""
        for part in layout.on(axis):
            self.mark_labels(part.labels, role)

    def mark_labels(self, labels: IntArray, role: Role) -> None:
        """The parameters that have these labels are producers or consumers of their channels."""
        findings = self.findings
        findings.roles.mark(labels, role, self.node)
        if findings.bent and role == "consumer":
            self._mark_bent(labels)

    def _mark_bent(self, labels: IntArray) -> None:
        """Halves of a weight that is bent on its way to the node that takes it aren't halves there."""
        bent = self.findings.bent
        for value in self.inputs:
            parts = self.findings.fields_of(value) if value is not None and value in bent else ()
            if value is not None and any(np.isin(part.labels, labels).any() for part in parts):
                self.mark_unscaled(labels, bent[value])

    def mode(self, default: str) -> str:
        """How the node is read where sizes alone would decide; a second analysis reads it as the first did."""
        return self.findings.modes.setdefault(self.node, default)

    def segment(self, layout: Layout, axis: int) -> None:
        """A part of an axis that must not vanish: its channels form groups of their own."""
        for part in layout.on(axis):
            self.findings.segments.append(part.labels.ravel())

    # In which order copies of a unit stand (see `chanc.analysis.order`)

    def row(self, labels: IntArray, reason: str) -> None:
        """A row of an axis [rows, columns] whose rows are alike: no unit may reach from the end of one to the next."""
        if labels.size > 1:
            self.findings.rows.append((labels, self._here(reason)))

    def reshaped(self, layout: Layout, target: Sequence[Size]) -> Layout:
        """The layout seen through a row-major reshape; it is noted how that cuts the axes it had into factors."""
        result = but_for_ones(layout, target)
        if result is not None:
            view = layout
        else:
            result = reshape(layout, target)
            view = regrouped(result, layout.sizes) if layout.fields else layout
        if layout.fields:
            self.findings.views.append((view, None))
        return result

    def seam(self, layout: Layout, axis: int, places: Iterable[int]) -> None:
        """The positions of a merged axis at which what was put together begins anew."""
        for part in layout.on(axis):
            labels = axis_labels(part, axis)[:, 0]
            self.findings.seams += [(int(labels[k - 1]), int(labels[k])) for k in places]

    def chain(self, lines: Iterable[IntArray]) -> None:
        """Labels that were put one line after the other."""
        ends = itertools.pairwise(line for line in lines if line.size)
        self.findings.seams += [(int(a[-1]), int(b[0])) for a, b in ends]

    def cut(self, labels: IntArray, rows: int, moving: int) -> None:
        """The labels of an axis are used as [rows, columns], of which whole rows (`moving` 0) or columns (1) go."""
        if labels.size > 1:
            grid = labels.reshape(rows, -1)
            part = Field(((0, 0), (0, 1)), grid)
            self.findings.views.append((Layout((grid.shape,), (part,)), (0, moving)))

    def beside(self, *lines: IntArray) -> None:
        """Labels [n, ...] of which the same ones go: copies stand in one order on all of them."""
        grid = np.concatenate([line.reshape(line.shape[0], -1) for line in lines], axis=1)
        if grid.shape[0] > 1:
            part = Field(((0, 0), (1, 0)), grid)
            self.findings.views.append((Layout(((grid.shape[0],), (grid.shape[1],)), (part,)), (0, 0)))
