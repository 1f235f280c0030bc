"""Convolutions: the number of groups follows where whole groups go."""

from __future__ import annotations

from chanc.analysis.layout import Layout
from chanc.rewrite.rules import rule
from chanc.rewrite.site import Site


@rule("Conv")
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
    outer, inner = _weight_sizes(site)
    if inner != 1 and outer != group:
        return
    old, new = layout.size(1), site.resize.size(layout, 1)
    if old != new and isinstance(old, int) and isinstance(new, int):
        site.set_attribute("group", new * group // old)


def _weight_sizes(site: Site) -> tuple[int, int]:
    layout = site.layout(1)
    if layout is not None:
        outer, inner = layout.sizes[:2]
        return int(str(outer)), int(str(inner))
    weight = site.node.inputs[1]
    assert weight is not None and weight.const_value is not None
    return int(weight.const_value.shape[0]), int(weight.const_value.shape[1])
