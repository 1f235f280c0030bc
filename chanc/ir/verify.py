"""What a legal graph is, as a table of rules that can be run between any two passes.

A rule looks at one node or one graph and gives the reason why it is broken, or None. Sources: the ONNX IR specification
(static single assignment, topological order, name scopes of subgraphs) and what `onnx_ir` needs to write a model that
reads back the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from chanc.errors import ModelError
from chanc.ir.functions import endless
from chanc.ir.signature import wrong_count, wrong_type

GraphLike = ir.Graph | ir.Function


@dataclass(frozen=True)
class Scope:
    """Names that a node may read: those of its own graph so far, then those of the graphs around it.

    called: it is a function's, whose attributes may be handed in.
    """

    imports: Mapping[str, int]
    functions: frozenset[str]
    outer: Scope | None = None
    called: bool = False
    names: dict[str, ir.Value] = field(default_factory=dict)

    def find(self, name: str) -> ir.Value | None:
        """The value that `name` means here, None if it means none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def inner(self) -> Scope:
        """The scope of a subgraph at this point."""
        return Scope(self.imports, self.functions, self, self.called)


@dataclass(frozen=True)
class Rule:
    """A rule of legal graphs; its check gets a node or a graph (`subject`), with the names known before it."""

    name: str
    meaning: str
    check: Callable[[ir.Node, Scope], str | None] | Callable[[GraphLike, Scope], str | None]


def verify(model: ir.Model, *, outputs: Sequence[str] | None = None) -> None:
    """Check every rule on every graph, subgraph and function of `model`; nothing is changed.

    Args:
        model: the model.
        outputs: names that the outputs of the main graph must have, in this order (those of the input model).

    Raises:
        ModelError: with the rule's name and the node, for the first rule that is broken.
    """
    if (reason := endless(model)) is not None:
        raise ModelError(f"illegal graph (functions-end): {reason}")
    functions = frozenset(function.domain for function in model.functions.values())
    _graph(model.graph, Scope(model.graph.opset_imports, functions))
    for function in model.functions.values():
        _graph(function, Scope(function.opset_imports, functions, called=True))
    found = [value.name for value in model.graph.outputs]
    if outputs is not None and found != list(outputs):
        raise ModelError(f"illegal graph (outputs-kept): the outputs are {found}, not {list(outputs)}")


def _graph(graph: GraphLike, scope: Scope) -> None:
    for rule in GRAPH_RULES:
        _apply(rule, graph, scope)
    _declare(graph, scope)
    for node in graph:
        for rule in NODE_RULES:
            if (reason := rule.check(node, scope)) is not None:  # type: ignore[arg-type]
                raise _broken(rule, node, reason)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                _graph(attribute.as_graph(), scope.inner())
            elif attribute.type == ir.AttributeType.GRAPHS and not attribute.is_ref():
                for inner in attribute.as_graphs():
                    _graph(inner, scope.inner())
        scope.names.update((value.name, value) for value in node.outputs if value.name)
    for rule in END_RULES:
        _apply(rule, graph, scope)


def _declare(graph: GraphLike, scope: Scope) -> None:
    scope.names.update((value.name, value) for value in graph.inputs if value.name)
    if isinstance(graph, ir.Graph):
        scope.names.update(graph.initializers)


def _apply(rule: Rule, subject: ir.Node | GraphLike, scope: Scope) -> None:
    reason = rule.check(subject, scope)  # type: ignore[arg-type]
    if reason is not None:
        raise _broken(rule, subject, reason)


def _broken(rule: Rule, subject: ir.Node | GraphLike, reason: str) -> ModelError:
    return ModelError(f"illegal graph ({rule.name}): {_label(subject)}: {reason}")


def _label(subject: ir.Node | GraphLike) -> str:
    if not isinstance(subject, ir.Node):
        return f"graph {subject.name!r}"
    output = next((value.name for value in subject.outputs if value.name), None)
    return f"{subject.op_type} {subject.name or output!r}" + (f" (output {output!r})" if subject.name else "")


def _inputs_named(graph: GraphLike, scope: Scope) -> str | None:
    names = [value.name for value in graph.inputs]
    if not all(isinstance(name, str) and name for name in names):
        return "a graph input has no name"
    return _repeated(names, "inputs")


def _initializers_named(graph: GraphLike, scope: Scope) -> str | None:
    if not isinstance(graph, ir.Graph):
        return None
    for name, value in graph.initializers.items():
        if not isinstance(name, str) or not name or value.name != name:
            return f"initializer {value.name!r} is registered as {name!r}"
        if value.producer() is not None:
            return f"initializer {name!r} is also the output of a node"
        if value.is_graph_input() and not any(value is entry for entry in graph.inputs):
            return f"initializer {name!r} is the input of another graph"
    return None


def _initializers_filled(graph: GraphLike, scope: Scope) -> str | None:
    if not isinstance(graph, ir.Graph):
        return None
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            return f"initializer {name!r} has no data"
        if value.shape is not None and not _fits(value.shape, tensor.shape):
            return f"initializer {name!r} is declared {_dims(value.shape)}, its data is {_dims(tensor.shape)}"
        if value.dtype is not None and value.dtype != tensor.dtype:
            return f"initializer {name!r} is declared {value.dtype.name}, its data is {tensor.dtype.name}"
    return None


def _fits(declared: ir.Shape, actual: ir.ShapeProtocol) -> bool:
    if len(declared) != len(actual):
        return False
    if declared.dims == actual.dims:
        return True
    return all(not isinstance(a, int) or a == b for a, b in zip(declared, actual, strict=True))


def _dims(shape: ir.ShapeProtocol) -> list[object]:
    return [size if isinstance(size, int) else str(size) for size in shape]


def _imported(node: ir.Node, scope: Scope) -> str | None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not node.op_type:
        return "the node has no operator"
    if domain in scope.imports or node.domain in scope.imports or domain in scope.functions:
        return None
    if domain == "" and "ai.onnx" in scope.imports:
        return None
    return f"operator set {node.domain or 'ai.onnx'!r} is not imported"


def _inputs_defined(node: ir.Node, scope: Scope) -> str | None:
    for value in node.inputs:
        if value is None or (value.name and scope.names.get(value.name) is value):
            continue
        found = scope.find(value.name) if value.name else None
        if found is value:
            continue
        if found is not None:
            return f"input {value.name!r} means another tensor of the same name here"
        producer = value.producer()
        if producer is not None and producer.graph is node.graph and node.graph is not None:
            return f"input {value.name!r} is computed later (nodes must be in topological order)"
        return f"input {value.name!r} is not defined"
    return None


def _outputs_single(node: ir.Node, scope: Scope) -> str | None:
    names = [value.name for value in node.outputs]
    for name in names:
        if name is None:
            return "an output has no name"
        if name in scope.names:
            return f"output {name!r} is defined already"
    return _repeated([name for name in names if name], "outputs") if len(names) > 1 else None


def _tensors_counted(node: ir.Node, scope: Scope) -> str | None:
    version = scope.imports.get("", scope.imports.get("ai.onnx"))
    return None if version is None else wrong_count(node, version)


def _attributes_typed(node: ir.Node, scope: Scope) -> str | None:
    if not scope.called:
        for name, attribute in node.attributes.data.items():
            if attribute.is_ref():
                return f"attribute {name!r} is a function's to hand in, and this is none"
    return wrong_type(node)


def _outputs_defined(graph: GraphLike, scope: Scope) -> str | None:
    for value in graph.outputs:
        if not value.name:
            return "a graph output has no name"
        # A subgraph may hand an outer tensor out directly (an If branch that returns a captured value).
        if scope.find(value.name) is not value:
            return f"output {value.name!r} is not defined"
    return None


def _repeated(names: Sequence[str | None], what: str) -> str | None:
    if len(set(names)) == len(names):
        return None
    twice = next(name for index, name in enumerate(names) if name in names[:index])
    return f"two {what} have the name {twice!r}"


GRAPH_RULES = (
    Rule("inputs-named", "every graph input has a name of its own", _inputs_named),
    Rule("initializers-named", "an initializer has the name it is registered by, and no producer", _initializers_named),
    Rule("initializers-filled", "an initializer has data of its declared shape and type", _initializers_filled),
)
"""Checked before a graph's nodes."""

NODE_RULES = (
    Rule("operator-imported", "a node names an operator of an imported set", _imported),
    Rule("inputs-defined", "every input means an earlier tensor, here or in a graph around", _inputs_defined),
    Rule("single-assignment", "every output has a name that nothing else in its graph has", _outputs_single),
    Rule("tensors-counted", "a node has as many inputs and outputs as its operator takes", _tensors_counted),
    Rule("attributes-typed", "an attribute has a value, of the type that its operator gives it", _attributes_typed),
)
"""Checked for each node, in order."""

END_RULES = (Rule("outputs-defined", "every graph output has a name and is defined", _outputs_defined),)
"""Checked after a graph's nodes."""
