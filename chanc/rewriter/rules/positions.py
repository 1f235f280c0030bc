"""Compress: the mask follows the channels."""

from __future__ import annotations

import numpy as np

from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("Compress")
def compress(site: Site) -> None:
    """A constant mask [channels]: a channel is chosen as it was before; what a short mask leaves out is not."""
    data, known = site.layout(0), site.constant(1)
    attribute = site.node.attributes.get("axis")
    if data is None or known is None or attribute is None:
        return
    axis = attribute.as_int() % data.rank
    source = site.source(data, axis) if data.on(axis) else None
    if source is not None:
        mask = np.zeros(site.integers((data.size(axis),))[0], dtype=bool)
        mask[: known.size] = known[: mask.size]
        site.set_input(1, mask[source])
