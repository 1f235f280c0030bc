"""Quantised operators: a node seen as its float operator, and scales and zero points that follow channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.grouping import spread_rows
from chanc.analysis.initializers import Use
from chanc.analysis.layout import Layout, Opaque
from chanc.ir.initializers import constant_shape


class Picked(Context):
    """A node as its float operator sees it: `places` are the inputs that it would have, and integers are channels."""

    __slots__ = ("places",)

    def __init__(self, context: Context, places: Sequence[int]) -> None:
        super().__init__(context.findings, context.node, context.visit_body)
        self.places = places
        self.inputs = [context.value(place) for place in places]
        self._read = context._read

    def use(self, index: int) -> Use:
        """The node, and the input as the node counts it."""
        return self.node, self.places[index]

    def parameter(self, index: int, axes: Iterable[int], integers: bool = True) -> Layout:
        """As of any context; integers are quantised values here."""
        return super().parameter(index, axes, integers=True)

    def labels(self, index: int, axis: int) -> IntArray | None:
        """As of any context; integers are quantised values here."""
        return self.parameter(index, (axis,)).on(axis)[0].labels


def elements(context: Context, index: int) -> int:
    """The number of elements of an input; 0 where it is left out, or not known."""
    value = context.value(index)
    if value is None:
        return 0
    sizes = constant_shape(value) if context.is_parameter(index) else context.input(index).sizes
    return prod(size if isinstance(size, int) else 0 for size in sizes)


def by_channel(context: Context, layout: Layout, axis: int, indices: Sequence[int]) -> None:
    """Inputs that have one value for each position of an axis follow it; those that have one for all stay."""
    told = [index for index in indices if elements(context, index) > 1]
    labels = context.project(layout, axis) if told else None
    for index in told:
        if labels is None and context.is_parameter(index):
            continue
        if context.rank(index) > 1:
            raise Opaque("its scales are no vector")
        vector = context.parameter(index, (0,), integers=True) if context.is_parameter(index) else context.input(index)
        own = context.project(vector, 0)
        if labels is None:
            if own is not None:
                context.pin(own, "it meets values that are not channels")
        elif own is None:
            context.pin(labels, f"it is scaled by {vector.why or 'values that are not channels'}")
        elif own.size != labels.size:
            raise Opaque(f"{own.size} scales for {labels.size} channels")
        else:
            context.same(labels, own)


def whole_blocks(context: Context, labels: IntArray, blocks: IntArray, count: int) -> None:
    """Labels [count * block] of which a block goes with one of `blocks`: [count]."""
    grid = labels.reshape(count, -1)
    spread_rows(context, labels, count)
    context.couple(grid[:, 0], blocks)
    context.beside(grid, np.asarray(blocks)[:, None])
