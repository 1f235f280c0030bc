"""Cuts: nodes that take channels from one reader while a rewrite is made; Slices and Gathers in the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.ir.initializers import add_constant
from chanc.ir.names import Names
from chanc.rewriter.edges.lines import line_of
from chanc.rewriter.edges.plan import Place

DOMAIN = "chanc"


def insert_cut(analysis: Analysis, place: Place, names: Names) -> ir.Node:
    """Put a Cut that takes nothing away before a node's input."""
    node, index = place
    value = node.inputs[index]
    line = line_of(analysis, value) if value is not None else None
    assert value is not None and line is not None
    made = ir.node("Cut", [value], {"axis": line[0]}, domain=DOMAIN)
    output = made.outputs[0]
    output.name, output.type, output.shape = names.fresh(f"{value.name}.kept"), value.type, value.shape
    assert isinstance(node.graph, ir.Graph)
    node.graph.insert_before(node, made)
    node.replace_input_with(index, output)
    return made


def take_out(cut: ir.Node) -> None:
    """Let the readers of a Cut read what it reads."""
    value = cut.inputs[0]
    assert value is not None and cut.graph is not None
    cut.outputs[0].replace_all_uses_with(value)
    cut.graph.remove(cut, safe=True)


def is_cut(node: ir.Node | None) -> bool:
    """Whether a node is a Cut."""
    return node is not None and node.op_type == "Cut" and node.domain == DOMAIN


def settle(model: ir.Model, cuts: Collection[ir.Node], names: Names) -> dict[ir.Node, str]:
    """Make standard operators of all Cuts; what each became: "whole", "slice", "gather"."""
    for concat in {value.producer(): None for cut in cuts if (value := cut.inputs[0]) is not None}:
        if concat is not None and concat.op_type == "Concat" and concat.graph is model.graph:
            _drop_unread(concat)
    twins: dict[tuple[ir.Value | None, bytes], ir.Value] = {}
    return {cut: _settled(model.graph, cut, twins, names) if cut.graph is not None else "whole" for cut in cuts}


def _settled(graph: ir.Graph, cut: ir.Node, twins: dict[tuple[ir.Value | None, bytes], ir.Value], names: Names) -> str:
    value, output, axis = cut.inputs[0], cut.outputs[0], cut.attributes["axis"].as_int()
    size, kept = _size(value, axis), _kept(cut)
    if kept is None or (kept.size == size and np.array_equal(kept, np.arange(size))):
        take_out(cut)
        return "whole"
    before = _picked(value, axis)
    if before is not None and value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        value, kept = before[0], before[1][kept]  # what an earlier plan picked is picked from again at once
    sliced = bool((np.diff(kept) == 1).all()) and _opset(graph) >= 10
    key = (value, kept.tobytes())
    if key not in twins:
        bounds = {"start": [kept[0]], "end": [kept[-1] + 1], "axis": [axis]} if sliced else {"indices": kept}
        inputs = [add_constant(graph, names.fresh(f"{output.name}.{what}"), np.asarray(numbers, dtype=np.int64))
                  for what, numbers in bounds.items()]  # fmt: skip
        made = ir.node("Slice", [value, *inputs]) if sliced else ir.node("Gather", [value, *inputs], {"axis": axis})
        twins[key] = made.outputs[0]
        made.outputs[0].name, made.outputs[0].type, made.outputs[0].shape = output.name, output.type, output.shape
        maker = value.producer() if value is not None else None
        graph.insert_after(maker, made) if maker is not None else graph.insert_before(graph[0], made)
    output.replace_all_uses_with(twins[key])
    read = cut.inputs[0]
    graph.remove(cut, safe=True)
    sweep(graph, [read.producer() if read is not None else None])
    return "slice" if sliced else "gather"


def _picked(value: ir.Value | None, axis: int) -> tuple[ir.Value, IntArray] | None:
    """What a Slice or Gather makes a value of, and the positions on the axis that it takes; None for anything else."""
    node = value.producer() if value is not None else None
    source = node.inputs[0] if node is not None else None
    if node is None or source is None or node.domain or node.op_type not in ("Slice", "Gather"):
        return None
    given = [v.const_value.numpy() for v in node.inputs[1:] if v is not None and v.const_value is not None]
    size = _size(source, axis)
    if size is None or len(given) < len(node.inputs) - 1:
        return None
    if node.op_type == "Gather" and given[0].ndim == 1 and node.attributes.get_int("axis", 0) == axis:
        return source, np.arange(size)[given[0]]
    if node.op_type == "Slice" and len(given) == 3 and given[2].tolist() == [axis]:
        return source, np.arange(size)[slice(int(given[0][0]), int(given[1][0]))]
    return None


def _opset(graph: ir.Graph) -> int:
    return graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 1))


def _kept(cut: ir.Node) -> IntArray | None:
    found = cut.attributes.get("kept")
    return np.array(found.as_ints(), dtype=np.int64) if found is not None else None


def _size(value: ir.Value | None, axis: int) -> int | None:
    """The size of an axis, as it is declared or stored; None where that isn't known."""
    shape = value.shape if value is not None else None
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None


def _drop_unread(concat: ir.Node) -> None:
    """Take out of a Concat the inputs of which none of its readers, all of them Cuts, keeps anything."""
    output = concat.outputs[0]
    cuts = [user for user, _ in output.uses()]
    axis = concat.attributes["axis"].as_int() % (len(output.shape) if output.shape is not None else 1)
    sizes = [_size(value, axis) for value in concat.inputs]
    rows = [(cut, kept) for cut in cuts if is_cut(cut) and (kept := _kept(cut)) is not None]
    same = all(cut.attributes["axis"].as_int() == axis for cut, _ in rows)
    if output.is_graph_output() or len(rows) < len(cuts) or not same or None in sizes or not rows:
        return
    owner = np.repeat(np.arange(len(sizes)), np.array(sizes, dtype=np.int64))
    used = np.isin(np.arange(len(sizes)), owner[np.concatenate([kept for _, kept in rows])])
    if used.all():
        return
    moved = np.cumsum(used[owner]) - 1
    for cut, kept in rows:
        cut.attributes["kept"] = ir.AttrInt64s("kept", moved[kept].tolist())
    _rejoin(concat, [value for value, stays in zip(concat.inputs, used.tolist(), strict=True) if stays], axis)


def _rejoin(concat: ir.Node, values: list[ir.Value | None], axis: int) -> None:
    """Let a Concat join these values alone."""
    output, graph = concat.outputs[0], concat.graph
    assert isinstance(graph, ir.Graph)
    dropped = [value.producer() for value in concat.inputs if value is not None and value not in values]
    if len(values) == 1 and values[0] is not None:
        output.replace_all_uses_with(values[0])
        sweep(graph, [concat])
        return
    for index, value in enumerate(values):
        concat.replace_input_with(index, value)
    concat.resize_inputs(len(values))
    if output.shape is not None:
        total = sum(_size(value, axis) or 0 for value in values)
        output.shape = ir.Shape([total if k == axis else size for k, size in enumerate(output.shape)])
    sweep(graph, dropped)


def sweep(graph: ir.Graph, starts: Iterable[ir.Node | None]) -> None:
    """Take nodes out of a graph that nothing reads any more: these, and those before them."""
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node is None or node.graph is not graph:
            continue
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            continue
        read = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        waiting += [value.producer() for value in read]
        for value in read:
            if value.is_initializer() and not (value.uses() or value.is_graph_input() or value.is_graph_output()):
                graph.initializers.pop(value.name or "", None)
