"""MatMulNBits: the sizes that it names follow."""

from __future__ import annotations

from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("MatMulNBits", domain="com.microsoft")
def matmul_nbits(site: Site) -> None:
    """`K` and `N` are the last axes of the data and of the result."""
    for name, layout in (("K", site.layout(0)), ("N", site.result())):
        if layout is not None:
            site.set_attribute(name, site.integers((site.resize.size(layout, layout.rank - 1),))[0])
