"""GroupNormalization: the number of groups follows where whole groups go."""

from __future__ import annotations

from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("GroupNormalization")
def group_norm(site: Site) -> None:
    """`num_groups` shrinks and grows with the channels; a single group stays one."""
    layout = site.layout(0)
    groups = site.attribute("num_groups", 1)
    if layout is None or groups == 1:
        return
    old, new = layout.size(1), site.resize.size(layout, 1)
    if old != new and isinstance(old, int) and isinstance(new, int):
        site.set_attribute("num_groups", new * groups // old)
