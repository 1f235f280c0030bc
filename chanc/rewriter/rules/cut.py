"""chanc's own Cut: the positions that are left are read where they are now."""

from __future__ import annotations

import numpy as np

from chanc.rewriter.axis_maps import remap
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("Cut", domain="chanc")
def cut(site: Site) -> None:
    """`kept` holds for each position of the result the position of the resized axis that it reads."""
    data, result, axis = site.layout(0), site.result(), site.attribute("axis", 1)
    size = int(str(result.size(axis)))
    kept = remap(np.arange(size), site.source(data, axis), site.source(result, axis), size)
    site.set_attribute("kept", kept.tolist())
