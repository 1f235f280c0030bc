"""Visit the nodes of a graph in order, each by the rule of its operator; what has no rule is opaque."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.evaluate import EVALUATORS, Array, evaluate, settle
from chanc.analysis.layout import Layout, Opaque, factors_of, plain
from chanc.analysis.rules import REGISTRY, AnalysisRule
from chanc.analysis.rules.control import captured_by, forget
from chanc.analysis.sweep import CURVED, DATA_LIMIT, Sweep
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import bodies

NO_SOURCES: frozenset[int] = frozenset()
MISFITS = (IndexError, KeyError, ValueError, TypeError, AssertionError, ArithmeticError)
INTEGERS = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL}
SCALARS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16}


def sweep_model(model: ir.Model, modes: dict[object, str] | None = None) -> Sweep:
    """Sweep a model in normal form: nodes sorted, weights in initializers.

    Nothing of the model is changed. Channels that enter an operator without a rule, a subgraph or a graph output are
    pinned there. `modes` are those of an earlier sweep of the same nodes.
    """
    graph = model.graph
    sweep = Sweep(graph, graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 1)))
    sweep.modes.update(modes or {})
    runner = _Runner(sweep)
    for value in graph.inputs:
        if value.const_value is None:
            sweep.layouts[value] = _graph_input(value)
    for node in graph:
        runner.visit(node)
    sweep.node = None
    for value in graph.outputs:
        for field in sweep.fields_of(value):
            sweep.pin(field.labels, "it is a graph output", tensor=value.name or "")
    sweep.assign_roles()
    return sweep


class _Runner:
    """What visiting needs besides the sweep: where shapes were read, and what subgraphs capture."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.sources: dict[ir.Value, frozenset[int]] = {}
        self.read: list[IntArray] = []
        self.rules: dict[tuple[str, str], AnalysisRule | None] = {}
        sweep.visit_body = self.visit_body

    def visit(self, node: ir.Node) -> None:
        """Execute one node on layouts."""
        sweep = self.sweep
        sweep.enter(node)
        graphs = bodies(node)
        if not graphs and self._evaluated(node):
            return
        kind = (node.domain, node.op_type)
        if kind not in self.rules:
            self.rules[kind] = REGISTRY.find(*kind, sweep.opset if not node.domain else 1 << 20)
        rule = self.rules[kind]
        if graphs:
            self._control(node, graphs, rule)
            return
        if rule is None:
            self._opaque(node, f"no rule for {node.domain or 'ai.onnx'}::{node.op_type}", [])
            return
        if self._from_constants(node):
            sweep.weights.update(node.outputs)
            if node.op_type in CURVED or not sweep.bent.isdisjoint(v for v in node.inputs if v is not None):
                sweep.bent.update(node.outputs)
        try:
            rule(sweep)
            sweep.settle_unread()
        except Opaque as why:
            self._opaque(node, str(why), [])
        except MISFITS:
            # A branch that is never taken may hold what doesn't fit; elsewhere that is an error of a rule.
            if node.graph is sweep.graph:
                raise
            self._opaque(node, "it doesn't fit what it is given", [])
        self._declare_rest(node)

    def _declare_rest(self, node: ir.Node) -> None:
        for output in node.outputs:
            if output not in self.sweep.layouts:
                _declare(self.sweep, output)

    def visit_body(self, graph: ir.Graph) -> None:
        """Execute the nodes of a body; its inputs have their layouts."""
        node = self.sweep.node
        assert node is not None
        for inner in graph:
            self.visit(inner)
        self.sweep.enter(node)

    def _control(self, node: ir.Node, graphs: list[ir.Graph], rule: AnalysisRule | None) -> None:
        """A node with bodies: its rule visits them; what one reads of outer values, each of its results may hold."""
        captured = list(captured_by(node))
        if rule is None:
            self._opaque(node, "it is used in a subgraph", captured)
            return
        sources = self._sources([*node.inputs, *captured])
        if sources:
            self.sources.update((value, sources) for graph in graphs for value in graph.inputs)
        try:
            rule(self.sweep)
        except Opaque as why:
            self.sweep.enter(node)
            for graph in graphs:
                forget(self.sweep, graph)
            inside = [value for graph in graphs for inner in graph.all_nodes() for value in inner.inputs]
            constants = {value for value in inside if value is not None and value.const_value is not None}
            self._opaque(node, str(why), [*captured, *sorted(constants, key=lambda value: value.name or "")])
        sources |= self._sources([value for graph in graphs for value in graph.outputs])
        if sources:
            self.sources.update((output, sources) for output in node.outputs)
        self._declare_rest(node)

    def _sources(self, values: Iterable[ir.Value | None]) -> frozenset[int]:
        """The widths from which the contents of any of these values may be computed."""
        return NO_SOURCES.union(*(self.sources.get(value, NO_SOURCES) for value in values if value is not None))

    def _from_constants(self, node: ir.Node) -> bool:
        """Whether a node computes weights or numbers."""
        return all(value is None or self._constant(value) for value in node.inputs)

    def _constant(self, value: ir.Value) -> bool:
        """Whether a value is computed from initializers and known numbers alone."""
        known = self.sweep.data.get(value)
        if known is not None:
            return known.dtype != object
        return value.const_value is not None or value in self.sweep.weights

    def _evaluated(self, node: ir.Node) -> bool:
        """Whether the node's output is a small tensor whose content is now known."""
        sweep = self.sweep
        sources = NO_SOURCES
        if self.sources:
            read = [self.sources[value] for value in node.inputs if value is not None and value in self.sources]
            sources = frozenset().union(*read) if read else NO_SOURCES
        content: Array | None = None
        if node.op_type == "Shape" and not node.domain:
            content, sources = self._shape_content(node)
        elif node.op_type in EVALUATORS:
            known = [self._content(value) for value in node.inputs if value is not None]
            if known and all(array is not None for array in known):
                content = evaluate(node, [array for array in known if array is not None])
        if content is None or len(node.outputs) != 1:
            if sources:
                self.sources.update((output, sources) for output in node.outputs)
            return False
        output = node.outputs[0]
        sweep.data[output] = content
        sweep.layouts[output] = plain([int(n) for n in content.shape], f"constant '{output.name}'")
        if sources and content.dtype == object:
            self.sources[output] = sources
        return True

    def _shape_content(self, node: ir.Node) -> tuple[Array | None, frozenset[int]]:
        """What Shape gives, and the numbers of the label arrays (in `read`) on which it depends."""
        sweep = self.sweep
        value = node.inputs[0]
        sources = NO_SOURCES
        if value is None:
            return None, sources
        if value.const_value is not None and value not in sweep.layouts:
            sizes: tuple[Size, ...] = constant_shape(value)
        elif value in sweep.layouts:
            layout = sweep.layouts[value]
            sizes = layout.sizes
            sources = frozenset(range(len(self.read), len(self.read) + len(layout.fields)))
            self.read += [field.labels.ravel() for field in layout.fields]
        else:
            return None, sources
        start, end = sweep.integer("start", 0), sweep.integer("end", len(sizes))
        content = np.empty(len(sizes), dtype=object)
        content[:] = sizes
        return settle(content[start:end]), sources

    def _content(self, value: ir.Value) -> Array | None:
        known = self.sweep.data.get(value)
        tensor = value.const_value
        if known is not None or tensor is None:
            return known
        # Floats are weights, unless they are a single number.
        limit = DATA_LIMIT if value.dtype in INTEGERS else 1 if value.dtype in SCALARS else 0
        return tensor.numpy() if tensor.size <= limit else None

    def _opaque(self, node: ir.Node, reason: str, captured: list[ir.Value]) -> None:
        """Pin whatever enters a node that isn't understood; its outputs have the shapes that the model declares."""
        sweep = self.sweep
        sweep.opaque[node] = reason
        for value in [*(v for v in node.inputs if v is not None), *captured]:
            for number in self.sources.get(value, ()):
                sweep.pin(self.read[number], reason)
            for field in sweep.fields_of(value):
                sweep.pin(field.labels, reason, tensor=value.name or "")
            if value.const_value is not None and value not in sweep.layouts:
                sweep.hold(value, reason)
        for output in node.outputs:
            _declare(sweep, output)


def _graph_input(value: ir.Value) -> Layout:
    sizes: list[Size] = []
    for axis, size in enumerate(value.shape or ()):
        known = size.value if isinstance(size, ir.SymbolicDim) else size
        # Paddle writes -1 and 0 for axes of any size.
        sizes.append(known if isinstance(known, int) and known > 0 else unknown(str(known or f"{value.name}.{axis}")))
    named = [
        unknown(f"{value.name}.{k}") if isinstance(n, Dim) and n.atoms[0] in ("?", "-1") else n
        for k, n in enumerate(sizes)
    ]
    return Layout(tuple(factors_of(size) for size in named), (), f"graph input '{value.name}'")


def _declare(sweep: Sweep, value: ir.Value) -> None:
    """Give a value the shape that the model declares; without one it has no layout, and what reads it is opaque."""
    sweep.layouts.pop(value, None)
    if value.shape is not None:
        layout = sweep.declared(value)
        why = f"the output of {sweep.node.op_type if sweep.node else ''} '{value.name}'"
        sweep.layouts[value] = Layout(layout.axes, layout.fields, why)

