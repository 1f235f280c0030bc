"""Fresh names: one authority for all that a piece of work adds to a model, O(1) a name.

An authority knows the names at the time it is made and those it gave out since. So whoever edits a graph makes one,
hands it down, and lets it go when done; it must not outlive edits that are made without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from chanc.ir.nodes import bodies


class Names:
    """Names that are taken; a fresh one is `base`, or the first free of `base.1`, `base.2`, ..., and then taken, too.

    `joint` stands between base and number, `first` is the first number.
    """

    def __init__(self, taken: Iterable[str], joint: str = ".", first: int = 1) -> None:
        self._taken, self._joint, self._first = set(taken), joint, first
        self._next: dict[str, int] = {}

    def fresh(self, base: str) -> str:
        """A free name; the search goes on where the last one for this base ended."""
        name, number = base, self._next.get(base, self._first)
        while name in self._taken:
            name = f"{base}{self._joint}{number}"
            number += 1
        self._next[base] = number
        self._taken.add(name)
        return name

    def release(self, name: str) -> None:
        """Let a name be free again."""
        self._taken.discard(name)
        base, _, number = name.rpartition(self._joint)
        if base in self._next and number.isdecimal():
            self._next[base] = max(self._first, min(self._next[base], int(number)))


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """The values of a graph, without those of its bodies: inputs, initializers, node outputs."""
    yield from graph.inputs
    yield from (value for value in graph.initializers.values() if not value.is_graph_input())
    for node in graph:
        yield from node.outputs


def value_names(graph: ir.Graph) -> set[str]:
    """The names of all values of a graph and of its bodies, at any depth."""
    names = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    for node in graph:
        names.update([value.name for value in node.outputs])
        for body in bodies(node):
            names |= value_names(body)
    return {name for name in names if name}
