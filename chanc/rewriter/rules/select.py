"""Concat, Split, Slice, Gather, GatherND, ScatterND: parts and indices of a resized axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout
from chanc.errors import IllegalMove
from chanc.ir.initializers import constant_shape
from chanc.rewriter.axis_maps import occurrence, read_copies, remap
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site
from chanc.rewriter.strided import strided


@rule("Concat")
def concat(site: Site) -> None:
    """Copies of a block that reaches from one input into the next are put in order behind it."""
    result = site.result()
    axis = site.attribute("axis", 1) % result.rank
    if not site.resize.grows or site.source(result, axis) is None:
        return
    (labels,) = (field.labels for field in result.on(axis))
    given: list[IntArray] = []
    start = 0
    for index, value in enumerate(site.node.inputs):
        layout = site.layout(index)
        if layout is None:
            assert value is not None
            end = start + constant_shape(value)[axis]
        else:
            end = start + int(str(layout.size(axis)))
        here = site.source(layout, axis) if layout is not None else site.resize.line(labels[start:end])
        given.append(start + (np.arange(end - start) if here is None else here))
        start = end
    site.reorder({axis: np.concatenate(given)})


@rule("Split")
def split(site: Site) -> None:
    """Every part has the channels that are left of it; sizes become explicit."""
    data = site.layout(0)
    if data is None:
        return
    axis = site.attribute("axis", 0) % data.rank
    if not data.on(axis) or site.source(data, axis) is None:
        return
    parts = _split_positions(site, data, axis)
    if not np.array_equal(np.concatenate(parts), np.arange(site.integers((site.resize.size(data, axis),))[0])):
        _split_by_gather(site, parts, axis)
        return
    sizes = [part.size for part in parts]
    if site.findings.opset < 13:
        site.set_attribute("split", sizes)
        return
    site.node.attributes.pop("num_outputs", None)
    site.set_input(1, np.array(sizes, dtype=np.int64))


def _split_positions(site: Site, data: Layout, axis: int) -> list[IntArray]:
    """Where in the resized axis the channels of each part are."""
    size, start, parts = int(str(data.size(axis))), 0, []
    for k in range(len(site.node.outputs)):
        part = site.result(k)
        count = int(str(part.size(axis)))
        parts.append(remap(np.arange(start, start + count), site.source(data, axis), site.source(part, axis), size))
        start += count
    return parts


def _split_by_gather(site: Site, parts: list[IntArray], axis: int) -> None:
    """A unit that lies across the cut is repeated as a whole: the parts are gathered, each under its old name."""
    node, graph = site.node, site.graph
    data = node.inputs[0]
    for old, positions in zip(node.outputs, parts, strict=True):
        gather = ir.node("Gather", [data], {"axis": axis}, num_outputs=1)
        new = gather.outputs[0]
        new.name, new.type, new.shape = old.name, old.type, site.shape(old, site.findings.layouts[old])
        graph.insert_before(node, gather)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        site.findings.layouts[new] = site.findings.layouts[old]
        Site(gather, site.findings, site.resize, site.names).set_input(1, positions)
    graph.remove(node, safe=True)


@rule("Slice")
def slice_axes(site: Site) -> None:
    """Bounds follow where what is left is still a slice; else the channels are gathered by their indices."""
    data = site.layout(0)
    if data is None or not any(site.source(data, axis) is not None for axis in range(data.rank) if data.on(axis)):
        return
    if not any(site.source(data, axis) is not None for axis in _sliced(site, data.rank) if data.on(axis)):
        return
    axes, starts, ends, steps = _bounds(site, data.rank)
    changed = [k for k, axis in enumerate(axes) if data.on(axis) and site.source(data, axis) is not None]
    for k in changed:
        positions = _positions(site, data, axes[k], (starts[k], ends[k], steps[k]))
        bounds = _as_slice(positions, site.resize.size(data, axes[k]))
        if bounds is None:
            _as_gather(site, positions, axes, k)
            return
        starts[k], ends[k], steps[k] = bounds
    if changed:
        _write_bounds(site, axes, starts, ends, steps)


def _sliced(site: Site, rank: int) -> list[int]:
    """The axes that a Slice cuts, whether or not its bounds are known."""
    given, known = site.node.attributes.get("axes"), site.constant(3)
    if given is not None:
        return [axis % rank for axis in given.as_ints()]
    return [int(axis) % rank for axis in known.ravel().tolist()] if known is not None else list(range(rank))


def _bounds(site: Site, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    attributes = site.node.attributes
    if "starts" in attributes:
        starts, ends = list(attributes["starts"].as_ints()), list(attributes["ends"].as_ints())
        axes = list(attributes["axes"].as_ints()) if "axes" in attributes else list(range(len(starts)))
        return [axis % rank for axis in axes], starts, ends, [1] * len(starts)
    parts = [site.constant(k) for k in range(1, 5)]
    if parts[0] is None or parts[1] is None or any(p is not None and p.dtype == object for p in parts):
        raise IllegalMove(f"Slice '{site.node.outputs[0].name}' has bounds that aren't known")
    starts, ends = ([int(n) for n in p.ravel().tolist()] for p in parts[:2] if p is not None)
    axes = [int(n) for n in parts[2].ravel().tolist()] if parts[2] is not None else list(range(len(starts)))
    steps = [int(n) for n in parts[3].ravel().tolist()] if parts[3] is not None else [1] * len(starts)
    return [axis % rank for axis in axes], starts, ends, steps


def _positions(site: Site, data: Layout, axis: int, bounds: tuple[int, int, int]) -> IntArray:
    """Where in the resized axis the channels of the resized slice are."""
    from chanc.analysis.evaluate import onnx_slice

    size = int(str(data.size(axis)))
    old = np.arange(size)[onnx_slice(*bounds, size)]
    return remap(old, site.source(data, axis), site.source(site.result(), axis), size)


def _as_slice(positions: IntArray, size: object) -> tuple[int, int, int] | None:
    """(start, end, step) that give these positions, or None."""
    if positions.size == 0:
        return None
    steps = np.unique(np.diff(positions))
    if steps.size > 1 or (steps.size == 1 and steps[0] == 0):
        return None
    step = int(steps[0]) if steps.size else 1
    start, last = int(positions[0]), int(positions[-1])
    end = last + (1 if step > 0 else -1)
    return start, end if end >= 0 else -(2**31), step


def _write_bounds(site: Site, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> None:
    if "starts" in site.node.attributes:
        site.set_attribute("starts", starts)
        site.set_attribute("ends", ends)
        return
    for index, numbers in enumerate((starts, ends, axes, steps), start=1):
        if (
            index < len(site.node.inputs)
            or index < 3
            or (index == 4 and any(step != 1 for step in steps))
            or index == 3
        ):
            site.set_input(index, np.array(numbers, dtype=np.int64))


def _as_gather(site: Site, positions: IntArray, axes: list[int], k: int) -> None:
    """The node becomes a Gather of the same output."""
    if len(axes) > 1:
        raise IllegalMove(f"Slice '{site.node.outputs[0].name}' cuts several axes, one of them unevenly")
    data = site.node.inputs[0]
    node = site.node
    node.op_type = "Gather"
    for name in list(node.attributes):
        del node.attributes[name]
    node.attributes["axis"] = ir.AttrInt64("axis", axes[k])
    node.resize_inputs(2)
    site.set_input(1, positions)
    assert node.inputs[0] is data


@rule("Gather")
def gather(site: Site) -> None:
    """Constant indices into a channel axis: each reads what its result position read."""
    data, known, result = site.layout(0), site.constant(1), site.result()
    if data is None or strided(site, data, result) or known is None or known.dtype == object:
        return
    axis = site.attribute("axis", 0) % data.rank
    if not data.on(axis):
        return
    source = site.source(data, axis)
    if known.ndim != 1:
        if source is not None or any(site.source(result, axis + k) is not None for k in range(known.ndim)):
            _gather_table(site, data, axis, known.astype(np.int64))
        return
    outer = site.source(result, axis)
    if source is None and outer is None:
        return
    size = int(str(data.size(axis)))
    site.set_input(1, remap(known.astype(np.int64) % size, source, outer, size).astype(known.dtype))


def _gather_table(site: Site, data: Layout, axis: int, known: IntArray) -> None:
    size = int(str(data.size(axis)))
    source = site.source(data, axis)
    outers = [site.source(site.result(), axis + k) for k in range(known.ndim)]
    copy: IntArray = np.zeros([1] * known.ndim, dtype=np.int64)
    for k, outer in enumerate(outers):
        if outer is not None:
            known = np.take(known, outer, axis=k)
            copy = copy + occurrence(outer).reshape([-1 if n == k else 1 for n in range(known.ndim)])
    site.set_input(1, read_copies(known % size, np.broadcast_to(copy, known.shape), source, size))


@rule("GatherND")
def gather_nd(site: Site) -> None:
    """Constant indices [k, 1] into the first axis."""
    _rows(site, site.result())


@rule("ScatterND")
def scatter_nd(site: Site) -> None:
    """Constant indices [k, 1] of the rows that are written: copy k of an update goes to copy k of its row."""
    data, updates, known = site.layout(0), site.layout(2), site.constant(1)
    if data is None or known is None or known.dtype == object or known.ndim != 2 or not data.on(0):
        return
    size = int(str(data.size(0)))
    inner = site.source(site.result(), 0)
    outer = site.source(updates, 0)
    if inner is None and outer is None:
        return
    site.set_input(1, remap(known[:, 0].astype(np.int64) % size, inner, outer, size)[:, None])


def _rows(site: Site, result: Layout) -> None:
    data, known = site.layout(0), site.constant(1)
    if (
        data is None
        or known is None
        or known.dtype == object
        or known.ndim != 2
        or known.shape[1] != 1
        or not data.on(0)
    ):
        return
    source, outer = site.source(data, 0), site.source(result, 0)
    if source is None and outer is None:
        return
    size = int(str(data.size(0)))
    site.set_input(1, remap(known[:, 0].astype(np.int64) % size, source, outer, size)[:, None])
