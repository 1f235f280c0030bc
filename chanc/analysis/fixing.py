"""Layouts of which an axis is looked at as a whole: what varies along it goes together, or stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Field, Layout, axis_labels, factors_of, merge, without
from chanc.analysis.notes import Notes


def fix(notes: Notes, layout: Layout, axis: int, reason: str) -> Layout:
    """The layout with an axis that keeps its size: what varies along it goes together, or stays."""
    if not layout.on(axis):
        return layout
    fields = []
    for part in layout.fields:
        kept = [k for k, slot in enumerate(part.slots) if slot[0] != axis]
        if len(kept) == len(part.slots):
            fields.append(part)
        elif not kept:
            notes.pin(part.labels, reason)
        else:
            fields.append(across(notes, part, kept))
    axes = list(layout.axes)
    axes[axis] = factors_of(layout.size(axis))
    return Layout(tuple(axes), tuple(fields), layout.why)


def across(notes: Notes, part: Field, kept: Sequence[int]) -> Field:
    """Couple labels along all slots but `kept`; the field that is left."""
    gone = [k for k in range(len(part.slots)) if k not in kept]
    labels = part.labels.transpose([*kept, *gone])
    flat = labels.reshape(*labels.shape[: len(kept)], -1)
    notes.couple(flat, flat[..., :1])
    return Field(tuple(part.slots[k] for k in kept), flat[..., 0])


def strip(notes: Notes, layout: Layout, axis: int, reason: str) -> Layout:
    """The layout with one axis free of labels; those it had are pinned."""
    for part in layout.on(axis):
        notes.pin(part.labels, reason)
    return without(layout, axis, layout.size(axis))


def project(notes: Notes, layout: Layout, axis: int) -> IntArray | None:
    """The labels along one axis: [size], coupled over all else they vary along; None where there are none."""
    fields = layout.fields
    if len(fields) == 1 and fields[0].slots == ((axis, 0),) and len(layout.axes[axis]) == 1:
        return fields[0].labels
    if len(layout.axes[axis]) > 1:
        layout = merge(layout, axis)
    parts = layout.on(axis)
    if not parts:
        return None
    if len(parts) == 1 and len(parts[0].slots) == 1:
        return parts[0].labels
    widest = _widest(notes, parts, axis)
    for part in parts:
        if part is not widest:
            notes.pin(part.labels, "two sets of channels share an axis")
    labels = axis_labels(widest, axis)
    if labels.shape[1] > 1:
        notes.couple(labels, labels[:, :1])
    return labels[:, 0]


def _widest(notes: Notes, parts: Sequence[Field], axis: int) -> Field:
    """The field with the most labels; which one it is, is decided once: at other widths another might be the widest."""
    if len(parts) == 1:
        return parts[0]
    order = sorted(range(len(parts)), key=lambda k: -np.unique(parts[k].labels).size)
    chosen = int(notes.findings.modes.setdefault((notes.node, axis), str(order[0])))
    return parts[min(chosen, len(parts) - 1)]
