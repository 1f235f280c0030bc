"""SplitToSequence: the sizes of the parts follow."""

from __future__ import annotations

import numpy as np

from chanc.errors import IllegalMove
from chanc.rewriter.axis_maps import remap
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("SplitToSequence")
def split_to_sequence(site: Site) -> None:
    """Every part has the channels that are left of it; sizes become explicit."""
    data, parts = site.layout(0), site.findings.sequences.get(site.node.outputs[0])
    axis = site.attribute("axis", 0)
    source = site.source(data, axis % data.rank) if data is not None else None
    if data is None or parts is None or source is None:
        return
    axis %= data.rank
    size, start, positions = site.integers((data.size(axis),))[0], 0, []
    for part in parts:
        count = site.integers((part.size(axis),))[0]
        positions.append(remap(np.arange(start, start + count), source, site.source(part, axis), size))
        start += count
    if not np.array_equal(np.concatenate(positions), np.arange(source.size)):
        raise IllegalMove(f"SplitToSequence '{site.node.outputs[0].name}' would cut through a unit")
    site.set_input(1, np.array([found.size for found in positions], dtype=np.int64))
