"""Control flow (ONNX If, Loop, Scan): bodies are executed on layouts like any other nodes.

What a body reads of outer values, it reads as they are. A value that is carried from turn to turn is one value: its
layouts before the first turn, in the body and after it are united. Nothing is broadcast where branches or turns meet,
so an axis on which not all have channels, or not all the same size, keeps its size.

A weight may enter a body, too: carried unchanged, or a part of it in each turn of a Scan, it is a weight there. One
that a turn changes has no halves: what takes it can't be shared out among copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from chanc.analysis.context import Context
from chanc.analysis.declared import declared
from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, plain, with_axes
from chanc.analysis.rules import rule
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import bodies, called, captured_by
from chanc.ir.nodes import carried as carried_by

ROUNDS = 8
"""A carried axis whose size changes is unknown from the next round on; more axes than this never change in turn."""

Layouts = list[Layout | None]


@rule("If")
def branch(context: Context) -> None:
    """If: the outputs of both branches are one; where their ranks differ, nothing is known."""
    results = [_executed(context, graph, []) for graph in bodies(context.node)]
    known = _outer_atoms(context)
    for index, output in enumerate(context.node.outputs):
        made = [result[index] for result in results]
        found = [layout for layout in made if layout is not None]
        if len(found) < len(made) or len({layout.rank for layout in found}) > 1:
            _pin_all(context, found, "what another branch makes in its place is not understood")
        else:
            if all(_is_weight(context, graph.outputs[index]) for graph in bodies(context.node)):
                _one_weight(context, found, output)
            context.output(_agreed(context, found, known, output, "another branch makes other sizes"), index)


@rule("Loop")
def loop(context: Context) -> None:
    """Loop: inputs are a number of turns, a condition and the carried values; scan outputs are stacked."""
    body = bodies(context.node)[0]
    count = len(context.node.inputs) - 2
    carried: Layouts = [_operand(context, index + 2) for index in range(count)]
    _pin_all(context, [x for k in (0, 1) if (x := _operand(context, k)) is not None], "it counts turns")
    _weights(context, body)
    first = [plain(()) if value.shape is None else declared(value) for value in body.inputs[:2]]
    final, results = _turns(context, body, first, carried, [], 1)
    known = _outer_atoms(context)
    for index, output in enumerate(context.node.outputs):
        layout = final[index] if index < count else results[index + 1]
        if layout is not None and index >= count:
            stacked = insert_axes(_outside(context, layout, known, output), [0])
            layout = with_axes(stacked, {0: unknown(f"{output.name}.0")})
        if layout is not None:
            context.output(layout, index)


@rule("Scan", since=9)
def scan(context: Context) -> None:
    """Scan: inputs are carried values, and sequences of which each turn sees one element; scan outputs are stacked."""
    body = bodies(context.node)[0]
    count = len(context.node.inputs) - context.integer("num_scan_inputs", 1)
    carried: Layouts = [_operand(context, index) for index in range(count)]
    axes = context.integer_list("scan_input_axes", [0] * (len(context.node.inputs) - count)) or []
    elements: Layouts = []
    length: Size = unknown(f"{context.node.outputs[0].name}.turns")
    for k, axis in enumerate(axes):
        layout = _operand(context, count + k)
        if layout is not None:
            layout = context.fix(layout, axis % layout.rank, "each turn sees a part of it")
            length = layout.size(axis % layout.rank)
            layout = drop_axes(layout, [axis % layout.rank])
        elements.append(layout)
    _weights(context, body)
    final, results = _turns(context, body, [], carried, elements, 0)
    known = _outer_atoms(context)
    outward = context.integer_list("scan_output_axes", [0] * (len(context.node.outputs) - count)) or []
    for index, output in enumerate(context.node.outputs):
        layout = final[index] if index < count else results[index]
        if layout is not None and index >= count:
            axis = outward[index - count] % (layout.rank + 1)
            layout = with_axes(insert_axes(_outside(context, layout, known, output), [axis]), {axis: length})
        if layout is not None:
            context.output(layout, index)


def _is_weight(context: Context, value: ir.Value) -> bool:
    return value.const_value is not None or value in context.findings.weights


def _one_weight(context: Context, layouts: Sequence[Layout], output: ir.Value) -> None:
    """Either of several weights: what takes the one takes the others."""
    context.findings.weights.add(output)
    for other in layouts[1:]:
        for mine, its in zip(layouts[0].fields, other.fields, strict=False):
            if mine.labels.shape == its.labels.shape:
                context.findings.roles.join(mine.labels, its.labels)


def _weights(context: Context, body: ir.Graph) -> None:
    """Note which inputs of a body, and results, are weights."""
    findings, node = context.findings, context.node
    entering = carried_by(node)
    results = dict(zip((index for index, _, _ in entering), node.outputs, strict=False))
    for index, inner, same in entering:
        if not context.is_weight(index):
            continue
        if same:
            findings.weights.update((inner, results[index]))
        else:
            reason = f"each turn of {node.op_type} '{called(node)}' changes '{inner.name}'"
            findings.bent.update({inner: reason, results[index]: reason})
    rest = range(len(entering), len(node.inputs)) if node.op_type == "Scan" else ()
    findings.weights.update(body.inputs[index] for index in rest if context.is_weight(index))


def _turns(
    context: Context, body: ir.Graph, first: Sequence[Layout], carried: Layouts, elements: Layouts, skip: int
) -> tuple[Layouts, Layouts]:
    """Execute a body until what it carries has the shape that it had before; what is carried at last, and all outputs.

    `first` are the layouts of the inputs before the carried ones, `skip` the number of outputs before those.
    """
    names = [value.name or "" for value in body.inputs[len(first) : len(first) + len(carried)]]
    for _ in range(ROUNDS):
        results = _executed(context, body, [*first, *carried, *elements])
        after = results[skip : skip + len(carried)]
        wider = [_widened(context, x, y, name) for x, y, name in zip(carried, after, names, strict=True)]
        if all(_same_sizes(x, y) for x, y in zip(carried, wider, strict=True)):
            break
        carried = wider
    else:
        raise Opaque("its carried values change their shapes from turn to turn")
    known = _outer_atoms(context)
    final: Layouts = []
    for x, y, output in zip(carried, after, context.node.outputs, strict=False):
        pair = [layout for layout in (x, y) if layout is not None]
        if len(pair) == 2:
            final.append(_agreed(context, pair, known, output, "it has another size after a turn"))
        else:
            _pin_all(context, pair, "its shape after a turn is not known")
            final.append(None)
    return final, results


def _widened(context: Context, before: Layout | None, after: Layout | None, name: str) -> Layout | None:
    """The layout of a carried value at any turn: an axis whose size a turn changes is of unknown size."""
    if before is None or after is None or before.rank != after.rank:
        known = [x for x in (before, after) if x is not None]
        _pin_all(context, known, "its rank after a turn is another, or not known")
        return None
    for axis in range(before.rank):
        own = unknown(f"{name}.{axis} at a turn")
        if before.size(axis) not in (own, after.size(axis)):
            before = with_axes(context.fix(before, axis, "it has another size after a turn"), {axis: own})
    return before


def _same_sizes(one: Layout | None, two: Layout | None) -> bool:
    return (one is None and two is None) or (one is not None and two is not None and one.sizes == two.sizes)


def _agreed(context: Context, layouts: list[Layout], known: set[str], output: ir.Value, reason: str) -> Layout:
    """Layouts of one rank that are the same value: labels that meet are one channel, nothing is broadcast."""
    for axis in range(layouts[0].rank):
        sizes = {layout.size(axis) for layout in layouts}
        equal = len(sizes) == 1 and _is_outer(next(iter(sizes)), known)
        if not equal or not all(layout.on(axis) for layout in layouts):
            layouts = [context.fix(layout, axis, _reason(layouts, axis, reason)) for layout in layouts]
        if not equal:
            layouts = [with_axes(layout, {axis: unknown(f"{output.name}.{axis}")}) for layout in layouts]
    return context.together(layouts)


def _reason(layouts: list[Layout], axis: int, reason: str) -> str:
    bare = next((layout for layout in layouts if not layout.on(axis) and layout.why), None)
    if bare is None or len({layout.size(axis) for layout in layouts}) > 1:
        return reason
    return f"in another branch or turn it is {bare.why}"


def _outside(context: Context, layout: Layout, known: set[str], output: ir.Value) -> Layout:
    """A layout as the outer graph sees it: sizes that only the body knows get names of their own."""
    for axis in range(layout.rank):
        if not _is_outer(layout.size(axis), known):
            layout = context.fix(layout, axis, "it is stacked beside an axis of unknown size")
            layout = with_axes(layout, {axis: unknown(f"{output.name}.{axis} of a turn")})
    return layout


def _outer_atoms(context: Context) -> set[str]:
    """The unknowns that the current node's inputs and captured values have: other names may belong to a body."""
    known = context.findings.layouts
    values = [*context.node.inputs, *captured_by(context.node)]
    layouts = [known[value] for value in values if value is not None and value in known]
    sizes = [size for layout in layouts for size in layout.sizes]
    return {atom for size in sizes if isinstance(size, Dim) for atom in size.atoms}


def _is_outer(size: Size, known: set[str]) -> bool:
    return isinstance(size, int) or known.issuperset(size.atoms)


def _pin_all(context: Context, layouts: Sequence[Layout], reason: str) -> None:
    for layout in layouts:
        for field in layout.fields:
            context.pin(field.labels, reason)


def _operand(context: Context, index: int) -> Layout | None:
    """An input of the current node; None where it is left out or nothing is known of its shape."""
    value, findings = context.value(index), context.findings
    if value is None:
        return None
    if value in findings.sequences or (value not in findings.layouts and value.const_value is None):
        _pin_sequence(context, value)
        return None
    return context.input(index)


def _pin_sequence(context: Context, value: ir.Value) -> None:
    for layout in context.findings.sequences.get(value, ()):
        _pin_all(context, [layout], "its sequence enters or leaves a body")


def _executed(context: Context, graph: ir.Graph, inputs: Layouts) -> Layouts:
    """The layouts of a body's outputs, given those of its inputs; anything known from an earlier round is forgotten."""
    context.findings.forget(graph)
    for value, layout in zip(graph.inputs, inputs, strict=True):
        if layout is not None:
            context.findings.layouts[value] = layout
    context.visit_body(graph)
    return [_result(context, value) for value in graph.outputs]


def _result(context: Context, value: ir.Value) -> Layout | None:
    _pin_sequence(context, value)
    findings = context.findings
    found = findings.layouts.get(value) if value not in findings.sequences else None
    if found is None and value.const_value is not None:
        findings.hold(value, "a body hands it out")
        return plain(constant_shape(value), f"constant '{value.name}'")
    return found
