"""Attention, MultiHeadAttention, RotaryEmbedding: numbers of heads follow; a scale due to the width is written out."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from chanc.analysis.layout import Layout
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("Attention", since=23)
def attention(site: Site) -> None:
    """`q_num_heads` and `kv_num_heads` where whole heads go, `scale` (1 / sqrt(d) by default) where columns go."""
    query, key = site.layout(0), site.layout(1)
    if query is None or key is None:
        return
    if site.findings.modes.get(site.node) == "heads":
        _heads(site, "q_num_heads", query)
        _heads(site, "kv_num_heads", key)
        return
    last = query.rank - 1
    if "scale" in site.node.attributes or site.source(query, last) is None:
        return
    width = site.integers((query.size(last),))[0]
    size = width // site.attribute("q_num_heads", 1) if query.rank == 3 else width
    site.node.attributes["scale"] = ir.AttrFloat32("scale", 1 / math.sqrt(size))


@rule("MultiHeadAttention", domain="com.microsoft")
def multi_head_attention(site: Site) -> None:
    """`num_heads` where whole heads go, `scale` where columns of a single head go."""
    query = site.layout(0)
    if query is not None and site.findings.modes.get(site.node) == "heads":
        _heads(site, "num_heads", query)
    elif query is not None and site.source(query, 2) is not None:
        _keep_scale(site, site.integers((query.size(2),))[0])


@rule("QAttention", domain="com.microsoft")
def quantised_attention(site: Site) -> None:
    """`num_heads`: only whole heads go, for it has as many columns of queries, keys and values."""
    _heads(site, "num_heads", site.result())


@rule("Attention", domain="com.microsoft")
def fused_attention(site: Site) -> None:
    """As MultiHeadAttention; its numbers of queries, keys and values are written out."""
    result, kept = site.result(), site.node.attributes.get("qkv_hidden_sizes")
    weight = site.node.inputs[1]
    made = next((p for p in site.findings.parameters if p.value is weight and p.axis == 1), None)
    if made is None or not site.resize.changes(made.labels):
        return
    sizes = list(kept.as_ints()) if kept is not None else [made.labels.size // 3] * 3
    ends = np.cumsum(sizes)
    new = [site.resize.line(made.labels[end - size : end]).size for size, end in zip(sizes, ends, strict=True)]
    if site.findings.modes.get(site.node) == "heads":
        _heads(site, "num_heads", result)
    elif new[0] != sizes[0]:
        _keep_scale(site, sizes[0])
    site.set_attribute("qkv_hidden_sizes", new)


def _keep_scale(site: Site, width: int) -> None:
    """1 / sqrt(width), which is the default, written out."""
    if not site.node.attributes.get_float("scale", 0.0):
        site.node.attributes["scale"] = ir.AttrFloat32("scale", 1 / math.sqrt(width))


@rule("GroupQueryAttention", domain="com.microsoft")
def group_query_attention(site: Site) -> None:
    """`num_heads` and `kv_num_heads`, in the same proportion: a key's heads go with it."""
    _heads(site, "num_heads", site.result())
    _heads(site, "kv_num_heads", site.result())


@rule("RotaryEmbedding", domain="com.microsoft")
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
