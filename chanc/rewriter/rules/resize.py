"""Pad and Resize: amounts and sizes of a channel axis."""

from __future__ import annotations

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout
from chanc.rewriter.rules import rule
from chanc.rewriter.shape_inputs import follow
from chanc.rewriter.site import Site


@rule("Pad")
def pad(site: Site) -> None:
    """Padded channels that are left, before and after the data's own."""
    data, result = site.layout(0), site.result()
    if data is None:
        return
    attribute = next((name for name in ("pads", "paddings") if name in site.node.attributes), None)
    known = site.constant(1) if attribute is None else np.array(site.node.attributes[attribute].as_ints())
    if known is None or known.dtype == object:
        return
    amounts = [int(n) for n in known.ravel().tolist()]
    axes_given = site.constant(3)
    axes = (
        [int(n) % data.rank for n in axes_given.ravel().tolist()] if axes_given is not None else list(range(data.rank))
    )
    changed = list(amounts)
    given: dict[int, IntArray] = {}
    for k, axis in enumerate(axes):
        before, after = amounts[k], amounts[k + len(axes)]
        if data.on(axis) and (before or after):
            changed[k], changed[k + len(axes)], given[axis] = _amounts(site, data, result, axis, before, after)
    if changed == amounts:
        return
    if attribute is not None:
        site.set_attribute(attribute, changed)
    else:
        site.set_input(1, np.array(changed, dtype=np.int64))
    site.reorder(given)


def _amounts(site: Site, data: Layout, result: Layout, axis: int, before: int, after: int) -> tuple[int, int, IntArray]:
    """How many channels are put before and after, and the old positions that gives in the result.

    A crop (negative) keeps to what is cropped of the resized axis, where that still is at its ends.
    """
    old = int(str(data.size(axis)))
    kept = site.source(result, axis)
    inner = site.source(data, axis)
    positions = np.arange(old + before + after) if kept is None else kept
    source = np.arange(old) if inner is None else inner
    end = old + before
    put_before, put_after = positions[positions < before], positions[positions >= end]
    cut_before, cut_after = (int(np.count_nonzero(cut)) for cut in (source < -before, source >= old + after))
    left = source[cut_before : source.size - cut_after]
    if not ((left >= -before) & (left < old + after)).all():
        cut_before, cut_after, left = 0, 0, source
    return (
        put_before.size if before >= 0 else -cut_before,
        put_after.size if after >= 0 else -cut_after,
        np.concatenate([put_before, left + before, put_after]),
    )


@rule("Resize")
def resize(site: Site) -> None:
    """A `sizes` input repeats the channel axis' size."""
    result, known = site.result(), site.constant(3)
    if known is None or known.size == 0:
        return
    attribute = site.node.attributes.get("axes")
    axes = [axis % result.rank for axis in attribute.as_ints()] if attribute is not None else list(range(result.rank))
    new = [
        site.resize.size(result, axis) if result.on(axis) else n
        for axis, n in zip(axes, known.ravel().tolist(), strict=True)
    ]
    if site.computed(3):
        follow(site, 3, new)
    elif new != known.ravel().tolist():
        site.set_input(3, np.array(new, dtype=np.int64))
