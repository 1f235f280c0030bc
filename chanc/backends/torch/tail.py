"""The end of a graph that PyTorch can't express: a module ends before it, and it stays in ONNX.

The tail is what needs the results of such a node: post-processing, an operator of somebody's own behind the last
weights. The module returns what the tail reads of the network, under the names that these values have in the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass

import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter
from chanc.boundary import boundary
from chanc.cost.params import Entering, entering, own_params
from chanc.cost.sizes import source
from chanc.errors import ModelError
from chanc.ir.dtypes import FLOATS
from chanc.ir.nodes import bodies, called, captured_by, nodes_of
from chanc.ops import weight_of


@dataclass(frozen=True)
class Tail:
    """What stays in ONNX.

    why: the first node that PyTorch can't express, and the reason. nodes: how many nodes stay. ends: the names of what
    the module returns.
    """

    why: str
    nodes: int
    ends: tuple[str, ...]

    def __str__(self) -> str:
        stay = f"{self.nodes} node{' stays' if self.nodes == 1 else 's stay'} in ONNX"
        return f"{self.why}; the module ends before it and returns {', '.join(map(repr, self.ends))}, {stay}"


PICKS = ("NonMaxSuppression",)
"""Operators that pick some of their inputs by value: no gradient passes, and how many there are hangs on the values."""


@boundary("writing PyTorch source")
def cut_tail(model: ir.Model, *, training: bool = False) -> Tail | None:
    """End the graph, in place, before what PyTorch can't express; None where nothing has to go.

    training: also before what picks by value (`PICKS`), where no weights are behind it. The graph is in normal form and
    has shapes. Raises ModelError, naming the node, where weights are behind it or where nothing is before it.
    """
    graph = model.graph
    refused = Emitter(model, "Network").refused()
    if training:
        refused |= {node: why for node, why in _picking(graph) if node not in refused}
    if not refused:
        return None
    for node, why in refused.items():
        if behind := _weights(_behind(graph, [node]), entering(graph)):
            raise ModelError(f"{why} ({behind} weights are in it or behind it, so no module can end there)")
    why, tail = next(iter(refused.values())), _behind(graph, refused)
    ends = _ends(graph, tail)
    if not ends:
        raise why
    before = len(graph)
    graph.outputs[:] = ends
    for node in reversed(graph):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
    return Tail(str(why), before - len(graph), tuple(value.name or "" for value in ends))


def _picking(graph: ir.Graph) -> Iterator[tuple[ir.Node, ModelError]]:
    """The nodes that pick by value, with no weights behind them, and why nothing is trained there."""
    inside = entering(graph)
    for node in graph:
        if node.domain == "" and node.op_type in PICKS and not _weights(_behind(graph, [node]), inside):
            yield node, ModelError(f"{called(node)} ({node.op_type}) picks by value, which can't be trained")


def _behind(graph: ir.Graph, nodes: Collection[ir.Node]) -> Set[ir.Node]:
    """The nodes, and all that need their results."""
    found: set[ir.Node] = set()
    for node in graph:
        if node in nodes or any(value.producer() in found for value in _read(node)):
            found.add(node)
    return found


def _read(node: ir.Node) -> list[ir.Value]:
    return [value for value in (*node.inputs, *captured_by(node)) if value is not None]


def _weights(nodes: Iterable[ir.Node], inside: Entering) -> int:
    """How many weights the nodes and their bodies have; operands of arithmetic, anchors for one, are none."""
    seen: set[tuple[str, str]] = set()
    total = 0
    for inner in (part for node in nodes for part in (node, *(n for body in bodies(node) for n in nodes_of(body)))):
        for index in own_params(inner, seen, inside):
            weight, value = weight_of(inner, index), inner.inputs[index]
            found = source(inside.get(value, value)) if value is not None else None
            if weight is not None and not weight.arithmetic and found is not None:
                total += found[1].size
    return total


def _ends(graph: ir.Graph, tail: Set[ir.Node]) -> list[ir.Value]:
    """The graph's outputs, those of the tail replaced by what they are made of: all that learns, else all there is."""
    every = {value for node in graph for value in node.outputs}
    return _traced(graph, tail, _learned(graph, tail)) or _traced(graph, tail, every)


def _traced(graph: ir.Graph, tail: Set[ir.Node], known: Set[ir.Value]) -> list[ir.Value]:
    """The outputs; for each of the tail the known values before it that it is made of, in the order of reading."""
    found: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    reached = [(value, True) for value in reversed(graph.outputs)]
    while reached:
        value, is_output = reached.pop()
        node = value.producer()
        if node not in tail and (is_output or value in known):
            found[value] = None
        elif node is not None:
            fresh = [read for read in _read(node) if read not in seen]
            seen.update(fresh)
            reached += [(read, False) for read in reversed(fresh)]
    return list(found)


def _learned(graph: ir.Graph, tail: Set[ir.Node]) -> Set[ir.Value]:
    """The values of floats before the tail that weights have a say in: a gradient may reach them."""
    inside = entering(graph)
    found: set[ir.Value] = set()
    for node in graph:
        if node not in tail and (_weights([node], inside) or not found.isdisjoint(_read(node))):
            found.update(value for value in node.outputs if _is_float(value))
    return found


def _is_float(value: ir.Value) -> bool:
    return (value.type is None or isinstance(value.type, ir.TensorType)) and value.dtype in (None, *FLOATS)
