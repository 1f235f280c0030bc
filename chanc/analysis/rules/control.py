"""Control flow (ONNX If, Loop, Scan): bodies are executed on layouts like any other nodes.

What a body reads of outer values, it reads as they are. A value that is carried from turn to turn is one value: its
layouts before the first turn, in the body and after it are united. Nothing is broadcast where branches or turns meet,
so an axis on which not all have channels, or not all the same size, keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.layout import Layout, Opaque, drop_axes, factors_of, insert_axes, plain
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import bodies, subgraphs

ROUNDS = 8
"""A carried axis whose size changes is unknown from the next round on; more axes than this never change in turn."""

Layouts = list[Layout | None]


@rule("If")
def branch(sweep: Sweep) -> None:
    """If: the outputs of both branches are one; where their ranks differ, nothing is known."""
    assert sweep.node is not None
    results = [_executed(sweep, graph, []) for graph in bodies(sweep.node)]
    known = _outer_atoms(sweep)
    for index, output in enumerate(sweep.node.outputs):
        made = [result[index] for result in results]
        found = [layout for layout in made if layout is not None]
        if len(found) < len(made) or len({layout.rank for layout in found}) > 1:
            _pin_all(sweep, found, "what another branch makes in its place is not understood")
        else:
            sweep.output(_agreed(sweep, found, known, output, "another branch makes other sizes"), index)


@rule("Loop")
def loop(sweep: Sweep) -> None:
    """Loop: inputs are a number of turns, a condition and the carried values; scan outputs are stacked."""
    assert sweep.node is not None
    body = bodies(sweep.node)[0]
    count = len(sweep.node.inputs) - 2
    carried: Layouts = [_operand(sweep, index + 2) for index in range(count)]
    _pin_all(sweep, [x for k in (0, 1) if (x := _operand(sweep, k)) is not None], "it counts turns")
    first = [plain(()) if value.shape is None else sweep.declared(value) for value in body.inputs[:2]]
    final, results = _turns(sweep, body, first, carried, [], 1)
    known = _outer_atoms(sweep)
    for index, output in enumerate(sweep.node.outputs):
        layout = final[index] if index < count else results[index + 1]
        if layout is not None and index >= count:
            layout = _sized(insert_axes(_outside(sweep, layout, known, output), [0]), 0, unknown(f"{output.name}.0"))
        if layout is not None:
            sweep.output(layout, index)


@rule("Scan", since=9)
def scan(sweep: Sweep) -> None:
    """Scan: inputs are carried values, and sequences of which each turn sees one element; scan outputs are stacked."""
    assert sweep.node is not None
    body = bodies(sweep.node)[0]
    count = len(sweep.node.inputs) - sweep.integer("num_scan_inputs", 1)
    carried: Layouts = [_operand(sweep, index) for index in range(count)]
    axes = sweep.integer_list("scan_input_axes", [0] * (len(sweep.node.inputs) - count)) or []
    elements: Layouts = []
    length: Size = unknown(f"{sweep.node.outputs[0].name}.turns")
    for k, axis in enumerate(axes):
        layout = _operand(sweep, count + k)
        if layout is not None:
            layout = sweep.fix(layout, axis % layout.rank, "each turn sees a part of it")
            length = layout.size(axis % layout.rank)
            layout = drop_axes(layout, [axis % layout.rank])
        elements.append(layout)
    final, results = _turns(sweep, body, [], carried, elements, 0)
    known = _outer_atoms(sweep)
    outward = sweep.integer_list("scan_output_axes", [0] * (len(sweep.node.outputs) - count)) or []
    for index, output in enumerate(sweep.node.outputs):
        layout = final[index] if index < count else results[index]
        if layout is not None and index >= count:
            axis = outward[index - count] % (layout.rank + 1)
            layout = _sized(insert_axes(_outside(sweep, layout, known, output), [axis]), axis, length)
        if layout is not None:
            sweep.output(layout, index)


def _turns(
    sweep: Sweep, body: ir.Graph, first: Sequence[Layout], carried: Layouts, elements: Layouts, skip: int
) -> tuple[Layouts, Layouts]:
    """Execute a body until what it carries has the shape that it had before; what is carried at last, and all outputs.

    `first` are the layouts of the inputs before the carried ones, `skip` the number of outputs before those.
    """
    assert sweep.node is not None
    names = [value.name or "" for value in body.inputs[len(first) : len(first) + len(carried)]]
    for _ in range(ROUNDS):
        results = _executed(sweep, body, [*first, *carried, *elements])
        after = results[skip : skip + len(carried)]
        wider = [_widened(sweep, x, y, name) for x, y, name in zip(carried, after, names, strict=True)]
        if all(_same_sizes(x, y) for x, y in zip(carried, wider, strict=True)):
            break
        carried = wider
    else:
        raise Opaque("its carried values change their shapes from turn to turn")
    known = _outer_atoms(sweep)
    final: Layouts = []
    for x, y, output in zip(carried, after, sweep.node.outputs, strict=False):
        pair = [layout for layout in (x, y) if layout is not None]
        if len(pair) == 2:
            final.append(_agreed(sweep, pair, known, output, "it has another size after a turn"))
        else:
            _pin_all(sweep, pair, "its shape after a turn is not known")
            final.append(None)
    return final, results


def _widened(sweep: Sweep, before: Layout | None, after: Layout | None, name: str) -> Layout | None:
    """The layout of a carried value at any turn: an axis whose size a turn changes is of unknown size."""
    if before is None or after is None or before.rank != after.rank:
        _pin_all(sweep, [x for x in (before, after) if x is not None], "its rank after a turn is another, or not known")
        return None
    for axis in range(before.rank):
        own = unknown(f"{name}.{axis} at a turn")
        if before.size(axis) not in (own, after.size(axis)):
            before = _sized(sweep.fix(before, axis, "it has another size after a turn"), axis, own)
    return before


def _same_sizes(one: Layout | None, two: Layout | None) -> bool:
    return (one is None and two is None) or (one is not None and two is not None and one.sizes == two.sizes)


def _agreed(sweep: Sweep, layouts: list[Layout], known: set[str], output: ir.Value, reason: str) -> Layout:
    """Layouts of one rank that are the same value: labels that meet are one channel, nothing is broadcast."""
    for axis in range(layouts[0].rank):
        sizes = {layout.size(axis) for layout in layouts}
        equal = len(sizes) == 1 and _is_outer(next(iter(sizes)), known)
        if not equal or not all(layout.on(axis) for layout in layouts):
            layouts = [sweep.fix(layout, axis, _reason(layouts, axis, reason)) for layout in layouts]
        if not equal:
            layouts = [_sized(layout, axis, unknown(f"{output.name}.{axis}")) for layout in layouts]
    return sweep.together(layouts)


def _reason(layouts: list[Layout], axis: int, reason: str) -> str:
    bare = next((layout for layout in layouts if not layout.on(axis) and layout.why), None)
    if bare is None or len({layout.size(axis) for layout in layouts}) > 1:
        return reason
    return f"in another branch or turn it is {bare.why}"


def _outside(sweep: Sweep, layout: Layout, known: set[str], output: ir.Value) -> Layout:
    """A layout as the outer graph sees it: sizes that only the body knows get names of their own."""
    for axis in range(layout.rank):
        if not _is_outer(layout.size(axis), known):
            layout = sweep.fix(layout, axis, "it is stacked beside an axis of unknown size")
            layout = _sized(layout, axis, unknown(f"{output.name}.{axis} of a turn"))
    return layout


def _outer_atoms(sweep: Sweep) -> set[str]:
    """The unknowns that the current node's inputs and captured values have: other names may belong to a body."""
    assert sweep.node is not None
    values = [*sweep.node.inputs, *captured_by(sweep.node)]
    layouts = [sweep.layouts[value] for value in values if value is not None and value in sweep.layouts]
    sizes = [size for layout in layouts for size in layout.sizes]
    return {atom for size in sizes if isinstance(size, Dim) for atom in size.atoms}


def _is_outer(size: Size, known: set[str]) -> bool:
    return isinstance(size, int) or known.issuperset(size.atoms)


def _sized(layout: Layout, axis: int, size: Size) -> Layout:
    """The layout with another size on an axis without labels."""
    axes = [factors_of(size) if k == axis else factors for k, factors in enumerate(layout.axes)]
    return Layout(tuple(axes), layout.fields, layout.why)


def _pin_all(sweep: Sweep, layouts: Sequence[Layout], reason: str) -> None:
    for layout in layouts:
        for field in layout.fields:
            sweep.pin(field.labels, reason)


def _operand(sweep: Sweep, index: int) -> Layout | None:
    """An input of the current node; None where it is left out or nothing is known of its shape."""
    value = sweep.value(index)
    if value is None or (value not in sweep.layouts and value.const_value is None) or value in sweep.sequences:
        _pin_sequence(sweep, value)
        return None
    return sweep.input(index)


def _pin_sequence(sweep: Sweep, value: ir.Value | None) -> None:
    for layout in sweep.sequences.get(value, ()) if value is not None else ():
        _pin_all(sweep, [layout], "its sequence enters or leaves a body")


def _executed(sweep: Sweep, graph: ir.Graph, inputs: Layouts) -> Layouts:
    """The layouts of a body's outputs, given those of its inputs; anything known from an earlier round is forgotten."""
    assert sweep.visit_body is not None
    forget(sweep, graph)
    for value, layout in zip(graph.inputs, inputs, strict=True):
        if layout is not None:
            sweep.layouts[value] = layout
    sweep.visit_body(graph)
    return [_result(sweep, value) for value in graph.outputs]


def _result(sweep: Sweep, value: ir.Value) -> Layout | None:
    _pin_sequence(sweep, value)
    found = sweep.layouts.get(value) if value not in sweep.sequences else None
    if found is None and value.const_value is not None:
        sweep.hold(value, "a body hands it out")
        return plain(constant_shape(value), f"constant '{value.name}'")
    return found


def forget(sweep: Sweep, graph: ir.Graph) -> None:
    """Drop what is known of a body's values; labels that were united stay so."""
    for inner in (graph, *subgraphs(graph)):
        values = [*inner.inputs, *(output for node in inner for output in node.outputs)]
        for value in values:
            sweep.layouts.pop(value, None)
            sweep.data.pop(value, None)
            sweep.sequences.pop(value, None)
        for node in inner:
            sweep.opaque.pop(node, None)


def captured_by(node: ir.Node) -> Iterator[ir.Value]:
    """Values of the outer graph that the node's bodies use."""
    for graph in bodies(node):
        yield from _free(graph)


def _free(graph: ir.Graph) -> Iterator[ir.Value]:
    inside = set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in (*node.inputs, *captured_by(node)):
            if value is not None and value not in inside:
                yield value
        inside.update(node.outputs)
    for value in graph.outputs:
        if value not in inside:
            yield value
