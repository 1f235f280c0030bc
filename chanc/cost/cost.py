"""Parameters and multiply-accumulates (MACs) of a model as a function of its tensors' sizes.

What an operator computes stands in its spec (`chanc.ops`). `macs` counts convolutions and matrix products, `macs_all`
adds what public counters count besides (`chanc.ops.work`). All figures are for one sample: the batch counts as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from chanc.boundary import stumbled
from chanc.cost.params import entering, own_params
from chanc.cost.sizes import Declared, Sizes, Unknown, elements, source
from chanc.ir.nodes import called
from chanc.ops import spec_of
from chanc.ops.spec import Number, Size, WorkOf
from chanc.ops.work import free


@dataclass(frozen=True)
class Cost:
    """Totals of a model: params, macs and macs_all a sample, in the number type of the sizes.

    `uncounted` names nodes that are left out: no formula is known for their operator, or their shapes are not known.
    """

    params: Number
    macs: Number
    macs_all: Number
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeCost:
    """What one node adds to the totals; a shared parameter is its first user's. macs_all includes macs."""

    params: Number
    macs: Number
    macs_all: Number
    known: bool = True


def cost(model: ir.Model, sizes: Sizes | None = None) -> Cost:
    """The totals of a model, at the sizes that its values declare (`chanc.analysis.infer_shapes`) or at others."""
    return Counter(model.graph)(sizes)


def node_costs(model: ir.Model, sizes: Sizes | None = None) -> dict[str, NodeCost]:
    """The cost of every node that has any, bodies of control flow included, by the name of its first output."""
    return Counter(model.graph).nodes(sizes)


class Counter:
    """The cost function of one graph: what each node counts by is looked up once, sizes are asked for at each call."""

    def __init__(self, graph: ir.Graph) -> None:
        self._declared = Declared(graph)
        self._work: list[tuple[ir.Node, tuple[int, ...], WorkOf | None]] = []
        seen: set[tuple[str, str]] = set()
        inside = entering(graph)
        for node in ir.traversal.RecursiveGraphIterator(graph):
            spec = spec_of(node)
            own = own_params(node, seen, inside) if spec is not None and spec.weights else ()
            work = spec.work if spec is not None else None
            if own or work is not free:
                self._work.append((node, own, work))

    def __call__(self, sizes: Sizes | None = None) -> Cost:
        """The totals."""
        params: Number = 0
        macs: Number = 0
        every: Number = 0
        unknown = []
        for node, own, work in self._work:
            found = _count(node, own, work, sizes or self._declared)
            params, macs, every = params + found.params, macs + found.macs, every + found.macs_all
            if not found.known:
                unknown.append(called(node))
        return Cost(params, macs, every, tuple(unknown))

    def nodes(self, sizes: Sizes | None = None) -> dict[str, NodeCost]:
        """The cost of every node that has any, by the name of its first output."""
        every = {called(node): _count(node, own, work, sizes or self._declared) for node, own, work in self._work}
        return {name: found for name, found in every.items() if found != NodeCost(0, 0, 0)}


def _count(node: ir.Node, own: tuple[int, ...], work: WorkOf | None, sizes: Sizes) -> NodeCost:
    params: Number = 0
    for index in own:
        params = params + _weight(node, index, sizes)
    if work is None:
        return NodeCost(params, 0, 0, known=False)
    try:
        macs, other = work(node.attributes.data, _Operands(node, sizes), _Results(node, sizes))
    except Unknown:
        return NodeCost(params, 0, 0, known=False)
    except Exception as error:
        stumbled(error)
        return NodeCost(params, 0, 0, known=False)
    macs, other = _sample(macs, sizes.batch), _sample(other, sizes.batch)
    return NodeCost(params, macs, macs + other)


class _Operands(Sequence["Size | None"]):
    """The sizes of a node's inputs, each asked for when a formula reads it: others may be unknown."""

    def __init__(self, node: ir.Node, sizes: Sizes) -> None:
        self._node, self._sizes = node, sizes

    def __len__(self) -> int:
        return len(self._node.inputs)

    def __getitem__(self, index: int) -> Size | None:  # type: ignore[override]
        if index >= len(self):
            raise IndexError(index)
        return self._sizes.input(self._node, index)


class _Results(Sequence["Size"]):
    """The sizes of a node's outputs, likewise."""

    def __init__(self, node: ir.Node, sizes: Sizes) -> None:
        self._node, self._sizes = node, sizes

    def __len__(self) -> int:
        return len(self._node.outputs)

    def __getitem__(self, index: int) -> Size:  # type: ignore[override]
        if index >= len(self):
            raise IndexError(index)
        return self._sizes.output(self._node, index)


def _weight(node: ir.Node, index: int, sizes: Sizes) -> Number:
    """The number of elements of a parameter; what is stored where its size as the node sees it is not known."""
    try:
        size = sizes.input(node, index)
    except Unknown:
        size = None
    if size is not None:
        return elements(size)
    found = source(node.inputs[index])
    return 0 if found is None else found[1].size


def _sample(count: Number, batch: int) -> Number:
    """A count for one sample of those that the sizes hold; a constant's work has no batch and stays as it is."""
    if batch == 1:
        return count
    if isinstance(count, int):
        return count // batch if count % batch == 0 else count
    return count / batch
