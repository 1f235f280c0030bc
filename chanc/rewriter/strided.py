"""Positions in a flattened tensor at its new widths (see `chanc.analysis.strided`)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis import dims
from chanc.analysis.dims import Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout
from chanc.analysis.strided import Run, View, find_view
from chanc.ir.initializers import add_constant
from chanc.rewriter.axis_maps import remap
from chanc.rewriter.site import Site


def strided(site: Site, data: Layout, result: Layout) -> bool:
    """Whether a Gather reads a flattened tensor with channels as a strided view; its indices follow then."""
    index = site.node.inputs[1]
    if index is None or data.rank != 1 or not data.fields or len(data.axes[0]) == 1:
        return False
    view = find_view(site.findings, data, index, result.rank)
    if view is None:
        return False
    changed = site.resize.factors(data, 0)
    if changed:
        sizes: list[Size] = [changed[k].size if k in changed else size for k, size in enumerate(data.axes[0])]
        strides = [int(str(dims.product(sizes[k + 1 :]))) for k in range(len(sizes))]
        tables = _tables(site, data, result, view, changed, strides)
        _write(site, index, tables, {axis: (run, strides[k]) for axis, (run, k) in view.runs.items()})
    return True


def _tables(
    site: Site, data: Layout, result: Layout, view: View, changed: dict[int, IntArray], strides: list[int]
) -> dict[int, IntArray]:
    """What each axis of known size adds to the indices: copy k of a result position reads copy k of what it read."""
    tables = {}
    for axis in range(result.rank):
        if axis in view.runs:
            continue
        outer = site.source(result, axis)
        outer = np.arange(int(str(view.sizes[axis])), dtype=np.int64) if outer is None else outer
        table = np.zeros(outer.size, dtype=np.int64)
        for k, parts in enumerate(view.digits):
            if axis in parts:
                inner = changed.get(k)
                digits = parts[axis][outer]
                if inner is not None:
                    digits = remap(parts[axis], inner, outer, int(str(data.axes[0][k])))
                table += strides[k] * digits
        tables[axis] = table
    return tables


def _write(site: Site, index: ir.Value, tables: dict[int, IntArray], runs: dict[int, tuple[Run, int]]) -> None:
    """The sum of tables, and of ranges times their steps, as the node's indices."""
    rank = len(tables) + len(runs)
    dtype = np.int32 if index.dtype == ir.DataType.INT32 else np.int64
    total: IntArray = np.zeros([1] * rank, dtype=np.int64)
    for axis, table in tables.items():
        total = total + table.reshape([-1 if k == axis else 1 for k in range(rank)])
    if not runs:
        site.set_input(1, total.astype(dtype))
        return
    graph, names = site.findings.graph, site.names
    name = site.node.outputs[0].name
    summed = add_constant(graph, names.fresh(f"{name}.table"), total.astype(dtype))
    for axis, (run, step) in runs.items():
        by = add_constant(graph, names.fresh(f"{name}.step"), np.array(step, dtype=dtype))
        sizes = np.array([-1 if k == axis else 1 for k in range(rank)])
        shape = add_constant(graph, names.fresh(f"{name}.axis"), sizes)
        steps = _added(site, "Mul", [_of_type(site, run.value, index), by], index)
        summed = _added(site, "Add", [_added(site, "Reshape", [steps, shape], index), summed], index)
    site.node.replace_input_with(1, summed)


def _of_type(site: Site, value: ir.Value, index: ir.Value) -> ir.Value:
    """A range as the type of the indices."""
    if value.dtype == index.dtype or index.dtype is None:
        return value
    return _added(site, "Cast", [value], index, to=int(index.dtype))


def _added(site: Site, op: str, inputs: list[ir.Value], like: ir.Value, **attributes: int) -> ir.Value:
    node = ir.node(op, inputs, attributes)
    site.findings.graph.insert_before(site.node, node)
    output = node.outputs[0]
    output.name, output.type = site.names.fresh(f"{site.node.outputs[0].name}.index"), like.type
    return output
