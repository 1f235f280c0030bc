"""ConstantOfShape: a shape that was read off a tensor and became a constant."""

from __future__ import annotations

import numpy as np

from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("ConstantOfShape")
def constant_of_shape(site: Site) -> None:
    """The widths in a constant shape; a computed one follows by itself."""
    value, known = site.node.inputs[0], site.constant(0)
    if value is None or value.const_value is None or known is None or known.dtype == object:
        return
    sizes = site.integers(site.sizes(site.result()))
    if sizes != known.ravel().tolist():
        site.set_input(0, np.array(sizes, dtype=np.int64))
