"""ConstantOfShape: a shape that holds widths."""

from __future__ import annotations

import numpy as np

from chanc.rewriter.rules import rule
from chanc.rewriter.shape_inputs import follow
from chanc.rewriter.site import Site


@rule("ConstantOfShape")
def constant_of_shape(site: Site) -> None:
    """The widths in a shape, be it a constant or computed."""
    known = site.constant(0)
    if known is None:
        return
    sizes = site.sizes(site.result())
    if site.computed(0):
        follow(site, 0, sizes)
    elif list(sizes) != known.ravel().tolist():
        site.set_input(0, np.array(site.integers(sizes), dtype=np.int64))
