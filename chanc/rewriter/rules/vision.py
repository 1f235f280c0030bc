"""MaxUnpool: the output shape repeats the number of channels."""

from __future__ import annotations

import numpy as np

from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("MaxUnpool")
def max_unpool(site: Site) -> None:
    """A given output shape gets the new number of channels."""
    known = site.constant(2)
    if known is None or known.dtype == object:
        return
    result = site.result()
    sizes = known.ravel().tolist()
    sizes[1] = site.integers((site.resize.size(result, 1),))[0]
    if sizes != known.ravel().tolist():
        site.set_input(2, np.array(sizes, dtype=np.int64))
