"""Channels that go by whole rows or columns: groups of convolutions and norms, statistics over axes."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout


def spread(context: Context, labels: IntArray, group: int) -> None:
    """Couple labels, seen as [group, columns], down the columns."""
    if group > 1:
        count = labels.size // group
        grid = labels.reshape(group, count)
        context.couple(grid[1:], grid[:1])
        context.cut(labels, group, 1)
        context.row(labels[:count], "one unit fills its groups")


def spread_rows(context: Context, labels: IntArray, group: int) -> None:
    """Couple labels, seen as [group, columns], along the rows."""
    rows = labels.reshape(group, -1)
    if rows.shape[1] > 1:
        context.couple(rows[:, 1:], rows[:, :1])
        context.cut(labels, group, 0)


def normalise(context: Context, layout: Layout, axes: Sequence[int]) -> None:
    """Statistics over `axes`: rows that lie in them go as a whole, else the result is inexact."""
    inside = set(axes)
    for field in layout.fields:
        gone = [k for k, slot in enumerate(field.slots) if slot[0] in inside]
        kept = [k for k, slot in enumerate(field.slots) if slot[0] not in inside and field.labels.shape[k] > 1]
        if not gone:
            continue
        if kept:
            ones = [k for k in range(len(field.slots)) if k not in gone and k not in kept]
            shape = [*(field.labels.shape[k] for k in (*ones, *kept)), -1]
            rows = field.labels.transpose([*ones, *kept, *gone]).reshape(shape)
            context.couple(rows, rows[..., :1])
        else:
            context.mark_inexact(field.labels, "a normalisation across channels")
