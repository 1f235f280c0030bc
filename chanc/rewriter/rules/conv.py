"""Convolutions: the number of groups follows where whole groups go."""

from __future__ import annotations

from chanc.analysis.layout import Layout
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("FusedConv", domain="com.microsoft")
@rule("QLinearConv", domain="com.microsoft")
@rule("Conv", "ConvInteger", "DeformConv", "QLinearConv")
def conv(site: Site) -> None:
    """`group` is the number of input channels over those of a group."""
    _regroup(site, site.layout(0))


@rule("ConvTranspose")
def conv_transpose(site: Site) -> None:
    """`group` is the number of output channels over those of a group."""
    _regroup(site, site.result())


def _regroup(site: Site, layout: Layout | None) -> None:
    group = site.attribute("group", 1)
    if group == 1 or layout is None:
        return
    if site.findings.modes.get(site.node) != "rows":
        return
    old, new = layout.size(1), site.resize.size(layout, 1)
    if old != new and isinstance(old, int) and isinstance(new, int):
        site.set_attribute("group", new * group // old)
