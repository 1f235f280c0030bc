"""Parameters and multiply-accumulates (MACs) of a model, in total and a node.

A MAC is one multiplication with its addition in a convolution or a matrix product; biases are free. `macs_all` adds
what public counters (ptflops) add: 2 an element of a normalisation's output, 1 an element of an activation's output, 1
an element of a pooling's *input*. All figures are for one sample: the batch counts as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from chanc.cost.params import NORMS, own_params
from chanc.cost.values import Sizes, Unknown, integers
from chanc.ir.nodes import called


@dataclass(frozen=True)
class Cost:
    """Totals of a model: params, macs and macs_all a sample; `uncounted` names nodes whose shapes are not known."""

    params: int
    macs: int
    macs_all: int
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeCost:
    """What one node adds to the totals; a shared parameter is its first user's. macs_all includes macs."""

    params: int
    macs: int
    macs_all: int
    known: bool = True


def cost(model: ir.Model) -> Cost:
    """The totals of a model whose values have shapes (`chanc.analysis.infer_shapes`)."""
    nodes = node_costs(model)
    return Cost(
        sum(node.params for node in nodes.values()),
        sum(node.macs for node in nodes.values()),
        sum(node.macs_all for node in nodes.values()),
        tuple(name for name, node in nodes.items() if not node.known),
    )


def node_costs(model: ir.Model) -> dict[str, NodeCost]:
    """The cost of every node that has any, bodies of control flow included, by the name of its first output."""
    sizes = Sizes(model.graph)
    seen: set[tuple[str, str]] = set()
    found: dict[str, NodeCost] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        params = own_params(node, seen)
        macs, extra, known = _work(node, sizes)
        if params or macs or extra or not known:
            found[called(node)] = NodeCost(params, macs, macs + extra, known)
    return found


def _work(node: ir.Node, sizes: Sizes) -> tuple[int, int, bool]:
    """MACs, other operations, and whether the shapes that they follow from are known."""
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return 0, 0, True
    try:
        if node.op_type in _MACS:
            return sizes.per_sample(_MACS[node.op_type](node, sizes)), 0, True
        if node.op_type in NORMS:
            return 0, 2 * sizes.per_sample(sizes.elements(node.outputs[0])), True
        if node.op_type in _ACTIVATIONS:
            return 0, sizes.per_sample(sizes.elements(node.outputs[0])), True
        if node.op_type in _POOLS or _is_spatial_reduction(node, sizes):
            return 0, sizes.per_sample(sizes.elements(node.inputs[0])), True
    except Unknown:
        return 0, 0, False
    return 0, 0, True


def _conv(node: ir.Node, sizes: Sizes, weight: int = 1) -> int:
    """Conv, W: [O, I/groups, k...]: every output element costs (I/groups) k... MACs."""
    return sizes.elements(node.outputs[0]) * prod(sizes.dims(node.inputs[weight])[1:])


def _conv_transpose(node: ir.Node, sizes: Sizes) -> int:
    """ConvTranspose, W: [I, O/groups, k...]: every input element costs (O/groups) k... MACs."""
    return sizes.elements(node.inputs[0]) * prod(sizes.dims(node.inputs[1])[1:])


def _gemm(node: ir.Node, sizes: Sizes) -> int:
    """Gemm, B: [K, N], or [N, K] with transB: M N K MACs."""
    transposed = node.attributes.get_int("transB", 0)
    return sizes.elements(node.outputs[0]) * sizes.dims(node.inputs[1])[1 if transposed else 0]


def _matmul(node: ir.Node, sizes: Sizes, right: int = 1) -> int:
    """MatMul of weights or of two activations, B: [..., K, N] or [K]: K MACs an output element."""
    dims = sizes.dims(node.inputs[right])
    return sizes.elements(node.outputs[0]) * (dims[-2] if len(dims) > 1 else dims[0])


def _fused_matmul(node: ir.Node, sizes: Sizes) -> int:
    """FusedMatMul, A: [..., M, K], or [..., K, M] with transA: K MACs an output element."""
    turned = node.attributes.get_int("transA", 0)
    return sizes.elements(node.outputs[0]) * sizes.dims(node.inputs[0])[-2 if turned else -1]


_MACS: dict[str, Callable[[ir.Node, Sizes], int]] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node, sizes: _conv(node, sizes, 3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _fused_matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": lambda node, sizes: _matmul(node, sizes, 3),
}
_ACTIVATIONS = frozenset(
    {"Relu", "PRelu", "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Clip", "HardSwish"}
)
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"})


def _is_spatial_reduction(node: ir.Node, sizes: Sizes) -> bool:
    """Whether a ReduceMean or ReduceMax is a global pooling in other words: over all axes but the first two."""
    if node.op_type not in ("ReduceMean", "ReduceMax"):
        return False
    axes = node.attributes.get_ints("axes") or integers(node.inputs[1] if len(node.inputs) > 1 else None)
    rank = sizes.rank(node.inputs[0])
    return axes is not None and rank > 3 and sorted(axis % rank for axis in axes) == list(range(2, rank))
