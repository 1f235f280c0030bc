"""Shapes that a model computes while it runs (Shape -> Slice -> Concat) made to say the new widths.

What is read off a resized tensor follows by itself; numbers written into such a chain don't.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.dims import Dim, Size
from chanc.errors import IllegalMove
from chanc.ir.initializers import add_constant
from chanc.rewriter.site import Site

Array = NDArray[np.generic]


def follow(site: Site, index: int, wanted: Sequence[Size]) -> None:
    """Make the computed vector at an input say `wanted` wherever that is a known number; other entries stay computed.

    Raises IllegalMove where the opset can't express it.
    """
    value = site.node.inputs[index]
    known = site.constant(index)
    if value is None or known is None or _follows(site, value, wanted):
        return
    if known.ravel().tolist() == list(wanted) and not reads_resized(site, value):
        return
    joined = _joined(site, value, wanted)
    site.node.replace_input_with(index, joined if joined is not None else _merged(site, index, value, wanted))


def reads_resized(site: Site, value: ir.Value | None) -> bool:
    """Whether a shape is computed from that of a tensor that is resized: its numbers may be others then."""
    seen: set[ir.Value] = set()
    todo = [value]
    while todo:
        here = todo.pop()
        node = here.producer() if here is not None and here not in seen else None
        if here is None or node is None:
            continue
        seen.add(here)
        if node.op_type != "Shape" or node.domain not in ("", "ai.onnx"):
            todo += node.inputs
            continue
        layout = site.findings.layouts.get(node.inputs[0]) if node.inputs[0] is not None else None
        first, last = (node.attributes[key].as_int() if key in node.attributes else None for key in ("start", "end"))
        if layout is not None and site.sizes(layout)[first:last] != layout.sizes[first:last]:
            return True
    return False


def _follows(site: Site, value: ir.Value, wanted: Sequence[Size]) -> bool:
    """Whether a value is the shape of a tensor, or a part of it, that will be as wanted by itself."""
    maker = value.producer()
    if maker is None or maker.op_type not in ("Shape", "Slice", "Gather"):
        return False
    source = maker.inputs[0]
    if maker.op_type != "Shape":
        above = source.producer() if source is not None else None
        # A part of the shape of the node's own input: a Resize keeps its channels.
        return above is not None and above.op_type == "Shape" and above.inputs[0] is site.node.inputs[0]
    layout = site.findings.layouts.get(source) if source is not None else None
    return layout is not None and list(site.sizes(layout)) == list(wanted)


def _joined(site: Site, value: ir.Value, wanted: Sequence[Size]) -> ir.Value | None:
    """A Concat like the one that makes the value, with new constants; None where it isn't made so."""
    maker = value.producer()
    if maker is None or maker.op_type != "Concat" or maker.domain not in ("", "ai.onnx"):
        return None
    parts: list[ir.Value] = []
    start = 0
    for part in maker.inputs:
        content = _content(site, part)
        if part is None or content is None or content.ndim != 1:
            return None
        asked, sizes = content.tolist(), list(wanted[start : start + content.size])
        start += content.size
        if (asked != sizes or reads_resized(site, part)) and not _follows(site, part, sizes):
            if any(isinstance(n, Dim) for n in sizes):
                return None
            name = site.names.fresh(f"{part.name}.resized")
            part = add_constant(site.findings.graph, name, np.array(sizes, dtype=np.int64))
        parts.append(part)
    return _added(site, ir.Node("", "Concat", parts, [ir.AttrInt64("axis", 0)]), value)


def _merged(site: Site, index: int, value: ir.Value, wanted: Sequence[Size]) -> ir.Value:
    """Where(changed, numbers, value)."""
    if site.findings.opset < 9:
        raise IllegalMove(f"{site.node.op_type} '{site.node.outputs[0].name}' computes a shape that can't be changed")
    graph = site.findings.graph
    known, stale = site.constant(index), reads_resized(site, value)
    assert known is not None
    mask = np.array([
        isinstance(n, int) and (n != old or (stale and not depends))
        for n, old, depends in zip(wanted, known.ravel().tolist(), site.open_entries(index), strict=True)
    ])  # fmt: skip
    numbers = np.array([n if isinstance(n, int) else 1 for n in wanted], dtype=np.int64)
    chosen = add_constant(graph, site.names.fresh(f"{value.name}.changed"), mask)
    sizes = add_constant(graph, site.names.fresh(f"{value.name}.sizes"), numbers)
    return _added(site, ir.Node("", "Where", [chosen, sizes, value]), value)


def _added(site: Site, node: ir.Node, like: ir.Value) -> ir.Value:
    site.graph.insert_before(site.node, node)
    output = node.outputs[0]
    output.name = site.names.fresh(f"{like.name}.{site.node.outputs[0].name}.resized")
    output.type, output.shape = like.type, like.shape
    return output


def _content(site: Site, value: ir.Value | None) -> Array | None:
    if value is None:
        return None
    known = site.findings.data.get(value)
    return value.const_value.numpy() if known is None and value.const_value is not None else known
