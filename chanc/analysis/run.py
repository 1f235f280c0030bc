"""Visit the nodes of a graph in order, each by the rule of its operator; what has no rule is opaque."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from chanc.analysis.context import Context
from chanc.analysis.declared import declared, graph_input
from chanc.analysis.dims import Size
from chanc.analysis.evaluate import EVALUATORS, Array, atoms, evaluate, is_fill, named, settle
from chanc.analysis.findings import DATA_LIMIT, Findings, Pin
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.analysis.rules import REGISTRY, AnalysisRule
from chanc.boundary import stumbled
from chanc.errors import ChancError
from chanc.ir.initializers import constant_shape, fed, shape_of
from chanc.ir.nodes import bodies, called, captured_by
from chanc.ops import Trait, has

NO_SOURCES: frozenset[int] = frozenset()
INTEGERS = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL}
TOLD = {"Shape", "Concat"}
"""Operators whose result may be numbers though their first input isn't known."""
SCALARS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16}
Fold = Callable[[Findings, ir.Node, Array | None], Collection[int]]
"""Puts constants in the place of inputs of a node, now or later; the array is what it computes, where known. Which."""


def visit_model(
    model: ir.Model,
    modes: dict[object, str] | None = None,
    open_data: dict[ir.Value, Array] | None = None,
    fold: Fold | None = None,
) -> Findings:
    """Visit the nodes of a model in normal form: nodes sorted, weights in initializers.

    Nothing of the model is changed but by `fold`, which is asked for each node of the graph before its rule. Channels
    that enter an operator without a rule, a subgraph or a graph output are pinned there. `modes` are those of earlier
    findings on the same nodes, `open_data` the contents that are known whatever open axes measure, where they have
    sizes given.
    """
    graph = model.graph
    findings = Findings(graph, graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 1)))
    findings.modes.update(modes or {})
    findings.open_data = open_data
    runner = _Runner(findings, fold)
    findings.fed = fed(model)
    for value in graph.inputs:
        layout = graph_input(value) if value.const_value is None or value in findings.fed else None
        if layout is not None:
            findings.layouts[value] = layout
    for node in graph:
        runner.visit(node)
    for value in graph.outputs:
        pin = Pin(value.name or "", "", "", "it is a graph output")
        findings.pins += [(field.labels.ravel(), pin) for field in findings.fields_of(value)]
    unscaled, undivided = findings.roles.assign(findings.initializers, findings.weights)
    findings.unscaled += unscaled
    findings.undivided += undivided
    return findings


class _Runner:
    """What visiting needs besides the findings."""

    def __init__(self, findings: Findings, fold: Fold | None) -> None:
        self.findings = findings
        self.folding = fold
        self.kinds: dict[tuple[str, str], tuple[AnalysisRule | None, bool]] = {}

    def visit(self, node: ir.Node) -> None:
        """Execute one node on layouts; one at which its rule stumbles is not understood."""
        context = Context(self.findings, node, self.visit_body)
        try:
            self._visit(context)
        except ChancError:
            raise
        except Exception as error:
            self._refuse(context, error)
        layouts = self.findings.layouts
        for output in context.outputs:
            if output not in layouts:
                self._declare(node, output)

    def _visit(self, context: Context) -> None:
        findings, node = self.findings, context.node
        rule, holds = self._kind(node)
        graphs, unknown = bodies(node) if holds else [], self._unknown(context)
        if unknown and not graphs:
            self._fold(context, None)
        elif not graphs and self._evaluated(context):
            return
        if graphs:
            self.folding = None  # what a body reads may be another thing in its next turn
            self._control(context, graphs, rule)
            return
        if rule is None:
            self._opaque(context, f"no rule for {node.domain or 'ai.onnx'}::{node.op_type}", [])
            return
        if not unknown and self._from_constants(node):
            findings.weights.update(node.outputs)
            # Rounding keeps 0, and the first copy of a channel keeps what is rounded: see `rules/quantize.py`.
            curved = has(node, Trait.CURVED) and not has(node, Trait.RECAST)
            bent = next((findings.bent[v] for v in node.inputs if v is not None and v in findings.bent), "")
            if curved or bent:
                reason = bent or f"its weights pass {node.op_type} '{called(node)}'"
                findings.bent.update(dict.fromkeys(node.outputs, reason))
        rule(context)
        context.settle_unread()

    def _kind(self, node: ir.Node) -> tuple[AnalysisRule | None, bool]:
        """The rule of a node's operator, and whether its nodes may hold graphs.

        One of ONNX's own has its bodies in each of its nodes, or in none.
        """
        kind = domain, name = node.domain, node.op_type
        found = self.kinds.get(kind)
        if found is None:
            rule = REGISTRY.find(domain, name, self.findings.opset if not domain else 1 << 20)
            found = self.kinds[kind] = rule, bool(domain) or bool(bodies(node))
        return found

    def _fold(self, context: Context, content: Array | None) -> Collection[int]:
        """Have constants put in the place of what is known of a node's inputs, where that is asked for: which."""
        if self.folding is None or not self.findings.data:
            return ()
        folded = self.folding(self.findings, context.node, content)
        if folded:
            context.inputs = context.node.inputs
        return folded

    def _unknown(self, context: Context) -> bool:
        """Whether a node is one of most: what it makes of an activation is neither a weight nor numbers."""
        findings, inputs = self.findings, context.inputs
        value = inputs[0] if inputs else None
        if value is None or value.const_value is not None or value in findings.data or value in findings.weights:
            return False
        return context.node.op_type not in TOLD and (not findings.sources or findings.sources.keys().isdisjoint(inputs))

    def _refuse(self, context: Context, error: Exception) -> None:
        """Pin what enters a node whose rule gave up, or stumbled."""
        # A branch that is never taken, a graph that no runtime would take, or a rule's mistake, a plug-in's too.
        unfit = "" if isinstance(error, Opaque) else f"it doesn't fit what it is given: {stumbled(error)}"
        reason = unfit or str(error)
        self._opaque(context, reason, self._captured(context))

    def _declare(self, node: ir.Node, value: ir.Value) -> None:
        """Give an output the shape that the model declares; without one it has no layout: what reads it is opaque."""
        self.findings.layouts.pop(value, None)
        if value.shape is not None:
            layout = declared(value)
            why = f"the output of {node.op_type} '{value.name}'"
            self.findings.layouts[value] = Layout(layout.axes, layout.fields, why)

    def visit_body(self, graph: ir.Graph) -> None:
        """Execute the nodes of a body; its inputs have their layouts."""
        for node in graph:
            self.visit(node)

    def _control(self, context: Context, graphs: list[ir.Graph], rule: AnalysisRule | None) -> None:
        """A node with bodies: its rule visits them; what one reads of outer values, each of its results may hold."""
        node = context.node
        if rule is None:
            self._opaque(context, "it is used in a subgraph", list(captured_by(node)))
            return
        sources = self._sources([*node.inputs, *captured_by(node)])
        if sources:
            self.findings.sources.update((value, sources) for graph in graphs for value in graph.inputs)
        try:
            rule(context)
        except ChancError:
            raise
        except Exception as error:
            self._refuse(context, error)
        sources |= self._sources([value for graph in graphs for value in graph.outputs])
        if sources:
            self.findings.sources.update((output, sources) for output in node.outputs)

    def _captured(self, context: Context) -> list[ir.Value]:
        """What the bodies of a node that isn't understood read: of them nothing is known any more."""
        graphs = bodies(context.node)
        for graph in graphs:
            self.findings.forget(graph)
        inside = [value for graph in graphs for inner in graph.all_nodes() for value in inner.inputs]
        constants = {value for value in inside if value is not None and value.const_value is not None}
        return [*captured_by(context.node), *sorted(constants, key=lambda value: value.name or "")]

    def _sources(self, values: Iterable[ir.Value | None]) -> frozenset[int]:
        """The widths from which the contents of any of these values may be computed."""
        sources = self.findings.sources
        return NO_SOURCES.union(*(sources.get(value, NO_SOURCES) for value in values if value is not None))

    def _from_constants(self, node: ir.Node) -> bool:
        """Whether a node computes weights or numbers."""
        # A plain loop: this is asked of every node, and mostly the first input tells.
        for value in node.inputs:  # noqa: SIM110
            if value is not None and not self._constant(value):
                return False
        return True

    def _constant(self, value: ir.Value) -> bool:
        """Whether a value is computed from initializers and known numbers alone."""
        known = self.findings.data.get(value)
        if known is not None:
            return known.dtype != object
        held = value.const_value is not None and value not in self.findings.fed
        return held or value in self.findings.weights

    def _evaluated(self, context: Context) -> bool:
        """Whether the node's output is a small tensor whose content is now known."""
        node, findings = context.node, self.findings
        content: Array | None = None
        left: Sequence[ir.Value | None] = node.inputs
        if node.op_type == "Shape" and not node.domain:
            content, sources = self._shape_content(context)
        else:
            if node.op_type in EVALUATORS:
                known = self._contents(node)
                if known:
                    content = _evaluate(node, known)
                elif node.op_type == "Concat":
                    content = self._joined(context)
            content = content if len(node.outputs) == 1 else None
            folded = self._fold(context, content)
            if folded:
                left = [value for index, value in enumerate(node.inputs) if index not in folded]
            sources = self._sources(left) if findings.sources else NO_SOURCES
        if content is None:
            if sources:
                self.findings.sources.update((output, sources) for output in node.outputs)
            return False
        output = node.outputs[0]
        if sources and content.dtype == object:
            self._note_sources(context, content, sources, left)
        findings.data[output] = content
        why = f"constant '{output.name}'"
        findings.layouts[output] = context.filled(why) if is_fill(output) else plain(content.shape, why)
        return True

    def _note_sources(
        self, context: Context, content: Array, sources: frozenset[int], inputs: Sequence[ir.Value | None]
    ) -> None:
        """Widths that a shape may tell go with it; those that a size was computed from, and named after, must stay."""
        node, data = context.node, self.findings.data
        known = {atom for value in inputs if value in data for atom in atoms(data[value])}
        if node.op_type != "Shape" and not known.issuperset(atoms(content)):
            for value in inputs:
                context.pin_sources(value)
        if any(isinstance(n, int) or n.factor != 1 for n in content.ravel().tolist()):
            self.findings.sources[node.outputs[0]] = sources

    def _shape_content(self, context: Context) -> tuple[Array | None, frozenset[int]]:
        """What Shape gives, and the numbers of the label arrays (in `read`) on which it depends."""
        layouts = self.findings.layouts
        value = context.value(0)
        sources = NO_SOURCES
        if value is None:
            return None, sources
        if value.const_value is not None and value not in layouts:
            sizes: tuple[Size, ...] = constant_shape(value)
        elif value in layouts:
            layout = layouts[value]
            sizes = layout.sizes
            sources = frozenset(range(len(self.findings.read), len(self.findings.read) + len(layout.fields)))
            self.findings.read += [field.labels.ravel() for field in layout.fields]
        else:
            return None, sources
        start, end = context.integer("start", 0), context.integer("end", len(sizes))
        content = np.empty(len(sizes), dtype=object)
        content[:] = sizes
        return settle(content[start:end]), sources

    def _joined(self, context: Context) -> Array | None:
        """A vector of sizes of which some are known, the others only named; None where it is anything else."""
        parts: list[Array] = []
        unknown: list[ir.Value] = []
        for value in context.inputs:
            array = self._content(value) if value is not None else None
            if value is not None and array is None:
                layout = self.findings.layouts.get(value)
                if layout is not None and layout.rank == 1 and not layout.fields:
                    array = named(value, layout.size(0))
                unknown.append(value)
            if array is None or array.dtype.kind not in "iO" or array.ndim != 1:
                return None
            parts.append(array)
        if len(unknown) == len(parts):
            return None
        for value in unknown:
            context.pin_sources(value)
        return evaluate(context.node, parts)

    def _contents(self, node: ir.Node) -> list[Array] | None:
        """What the inputs of a node hold; None where it isn't known of one."""
        found = []
        for value in node.inputs:
            if value is not None:
                array = self._content(value)
                if array is None:
                    return None
                found.append(array)
        return found

    def _content(self, value: ir.Value) -> Array | None:
        known = self.findings.data.get(value)
        tensor = value.const_value
        if known is not None or tensor is None or value in self.findings.fed:
            return known
        # Floats are weights, unless they are a single number.
        limit = DATA_LIMIT if value.dtype in INTEGERS else 1 if value.dtype in SCALARS else 0
        return tensor.numpy() if prod(shape_of(tensor)) <= limit else None

    def _opaque(self, context: Context, reason: str, captured: list[ir.Value]) -> None:
        """Pin whatever enters a node that isn't understood; its outputs have the shapes that the model declares."""
        node, findings = context.node, self.findings
        findings.opaque[node] = reason
        for value in [*(v for v in node.inputs if v is not None), *captured]:
            context.pin_sources(value, reason)
            for field in findings.fields_of(value):
                context.pin(field.labels, reason, tensor=value.name or "")
            if value.const_value is not None and value not in findings.layouts:
                findings.hold(value, reason)
        for output in node.outputs:
            self._declare(node, output)


def _evaluate(node: ir.Node, arrays: list[Array]) -> Array | None:
    """What a node computes of small tensors; None where it doesn't fit them, which its rule tells."""
    try:
        return evaluate(node, arrays)
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
        return None
