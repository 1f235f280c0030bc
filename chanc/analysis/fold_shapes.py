"""Replace shape chains by what they compute, where that is known.

A Reshape whose target is computed from its own input's shape gets a constant target; one dynamic axis becomes -1.
Masks and index tables that depend on nothing but sizes become initializers; a tensor filled with one number stays the
node that it is, for it fits any width. Nodes that nobody reads any more go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis.dims import Dim
from chanc.analysis.evaluate import is_fill
from chanc.analysis.findings import Array, Findings
from chanc.analysis.run import visit_model
from chanc.boundary import boundary
from chanc.ir.initializers import COMPUTED, add_constant
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import bodies, called, nodes_of


@boundary("the folding of shapes")
def settled(model: ir.Model) -> tuple[Findings, bool]:
    """Fold a model in normal form to a fixed point, in place: the findings on what it is then, and if it changed."""
    folding = Folding(model.graph)
    findings = visit_model(model, fold=folding.fold)
    gone = folding.finish()
    if folding.made and not _forgotten(findings, gone, folding.made):
        findings = visit_model(model)
    changed = bool(folding.made)
    while fold_shapes(model, findings):
        findings, changed = visit_model(model), True
    return findings, changed


def fold_shapes(model: ir.Model, findings: Findings | None = None) -> bool:
    """Fold, in place, what `findings` on this very model have read through; says whether anything changed.

    The model must be in normal form. Without findings they are made.
    """
    findings = findings if findings is not None else visit_model(model)
    data = findings.data
    readers = {node for value in data if value.const_value is None for node, _ in value.uses()}
    results = {node: data.get(node.outputs[0]) for node in readers}
    if not any(True for node, result in results.items() for _ in _foldable(findings, node, result)):
        return False
    folding = Folding(model.graph)
    for node in nodes_of(model.graph):
        if node in results:
            folding.fold(findings, node, results[node])
    folding.finish()
    return True


Gone = Sequence[tuple[ir.Node, Sequence[ir.Value | None]]]
"""Nodes that were removed, and what each read."""


class Folding:
    """Puts constants in the place of what was read through, node by node; `made` are those."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.made: set[ir.Value] = set()
        self._names: Names | None = None  # most models have nothing to fold
        self._later: list[tuple[ir.Node, int, ir.Value, Array]] = []
        self._unread: list[ir.Value] = []

    def fold(self, findings: Findings, node: ir.Node, result: Array | None) -> Collection[int]:
        """Fold inputs of a node, `result` being what is known of its own content; says which.

        Those of a node within a chain are folded by `finish`: most of them aren't there any more then.
        """
        found = list(_foldable(findings, node, result))
        if result is not None:
            self._later += [(node, *each) for each in found]
        else:
            for index, value, array in found:
                self._replace(node, index, value, array)
        return [index for index, _, _ in found]

    def finish(self) -> Gone:
        """Remove the nodes that nobody reads any more, and fold within the chains that are left."""
        gone = self._sweep()
        for node, index, value, array in self._later:
            if node.graph is not None:
                self._replace(node, index, value, array)
        return gone + self._sweep()

    def _replace(self, node: ir.Node, index: int, value: ir.Value, array: Array) -> None:
        self._names = self._names or Names(value_names(self.graph))
        made = _initializer(self.graph, self._names, value, array)
        node.replace_input_with(index, made)
        self.made.add(made)
        self._unread.append(value)

    def _sweep(self) -> list[tuple[ir.Node, Sequence[ir.Value | None]]]:
        """Remove what was made only for inputs that are folded."""
        gone, waiting = [], self._unread
        while waiting:
            value = waiting.pop()
            if value.uses() or value.is_graph_output():
                continue
            node = value.producer()
            if node is None:
                if value.is_initializer() and not value.is_graph_input():
                    self.graph.initializers.pop(value.name or "", None)
            elif node.graph is not None and (len(node.outputs) == 1 or not _read(node)):
                gone.append((node, node.inputs))
                for inner in (node, *(inner for body in bodies(node) for inner in nodes_of(body))):
                    waiting += [read for read in inner.inputs if read is not None]
                    inner.resize_inputs(0)
                node.graph.remove(node)
        return gone


def _read(node: ir.Node) -> bool:
    """Whether anybody takes an output of a node."""
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


def _foldable(findings: Findings, node: ir.Node, result: Array | None) -> Iterator[tuple[int, ir.Value, Array]]:
    """The inputs of a node that a constant can stand for, and what that holds."""
    # Within a chain only known parts beside unknown ones: a width that was read off a tensor must not follow it. A
    # multiple of one may.
    if result is not None and (result.dtype != object or node.op_type in ("Mul", "Div")):
        return
    for index, value in enumerate(node.inputs):
        if value is None or value.const_value is not None or value not in findings.data or is_fill(value):
            continue
        array = _constant(node, index, findings.data[value], findings)
        if array is not None:
            yield index, value, array


def _forgotten(findings: Findings, gone: Gone, made: Iterable[ir.Value]) -> bool:
    """Take out of the findings the nodes that are gone; whether they are what they would be without those.

    They are where each was read through and left no mark: no labels, no pins, nothing that a rule saw of its input; nor
    did a rule see a constant that was `made` before all that read it did so.
    """
    asked = findings.initializers.asked
    if any(asked(value) and len(value.uses()) > 1 for value in made):
        return False
    pinned = {pin.node for _, pin in findings.pins}
    for node, inputs in gone:
        output = node.outputs[0]
        marked = output not in findings.data or findings.layouts[output].fields or called(node) in pinned
        if marked or any(value in findings.asked or asked(value) for value in inputs):
            return False
        for known in (findings.layouts, findings.data, findings.sources):
            known.pop(output, None)
    return True


def _constant(node: ir.Node, index: int, array: Array, findings: Findings) -> Array | None:
    """The constant that can stand for a value at this input, or None."""
    if array.dtype != object:
        return array
    if node.op_type != "Reshape" or index != 1:
        return None
    sizes = array.ravel().tolist()
    unknown = [k for k, n in enumerate(sizes) if isinstance(n, Dim)]
    if len(unknown) == 1 and 0 not in sizes and -1 not in sizes:
        return np.array([-1 if isinstance(n, Dim) else n for n in sizes], dtype=np.int64)
    layout = findings.layouts.get(node.inputs[0]) if node.inputs[0] is not None else None
    if layout is None or node.attributes.get("allowzero") is not None or 0 in sizes or -1 in sizes:
        return None
    copied = [k for k in unknown if k < layout.rank and layout.size(k) == sizes[k]]
    left = [k for k in unknown if k not in copied]
    if len(left) > 1:
        return None
    return np.array([0 if k in copied else -1 if k in left else n for k, n in enumerate(sizes)], dtype=np.int64)


def _initializer(graph: ir.Graph, names: Names, value: ir.Value, array: Array) -> ir.Value:
    """An initializer of that content, named after the value; an equal one is used again."""
    base = f"{value.name or 'shape'}.folded"
    known = graph.initializers.get(base)
    if known is not None and known.const_value is not None:
        same = known.dtype == ir.DataType.from_numpy(array.dtype) and np.array_equal(known.const_value.numpy(), array)
        if same:
            return known
    made = add_constant(graph, names.fresh(base), array)
    made.meta[COMPUTED] = True
    return made
