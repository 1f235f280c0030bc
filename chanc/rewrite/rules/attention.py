"""Attention, RotaryEmbedding: numbers of heads follow; a scale that came from the width is written out."""

from __future__ import annotations

import math

import onnx_ir as ir

from chanc.analysis.layout import Layout
from chanc.rewrite.rules import rule
from chanc.rewrite.site import Site


@rule("Attention", since=23)
def attention(site: Site) -> None:
    """`q_num_heads` and `kv_num_heads` where whole heads go, `scale` (1 / sqrt(d) by default) where columns go."""
    query, key = site.layout(0), site.layout(1)
    if query is None or key is None:
        return
    if site.sweep.modes.get(site.node) == "heads":
        _heads(site, "q_num_heads", query)
        _heads(site, "kv_num_heads", key)
        return
    last = query.rank - 1
    if "scale" in site.node.attributes or site.source(query, last) is None:
        return
    width = site.integers((query.size(last),))[0]
    size = width // site.attribute("q_num_heads", 1) if query.rank == 3 else width
    site.node.attributes["scale"] = ir.AttrFloat32("scale", 1 / math.sqrt(size))


@rule("RotaryEmbedding", since=23)
def rotary(site: Site) -> None:
    """`num_heads` follows."""
    data = site.layout(0)
    if data is not None:
        _heads(site, "num_heads", data)


def _heads(site: Site, name: str, layout: Layout) -> None:
    """A number of heads of [batch, positions, heads * columns]."""
    old, new = layout.size(layout.rank - 1), site.resize.size(layout, layout.rank - 1)
    heads = site.attribute(name, 0)
    if layout.rank == 3 and heads and isinstance(old, int) and isinstance(new, int) and old != new:
        site.set_attribute(name, heads * new // old)
