"""Layouts without labels, from the shapes that a model declares."""

from __future__ import annotations

import onnx_ir as ir

from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.ir.initializers import constant_shape
from chanc.ops import Trait, has


def declared(value: ir.Value) -> Layout:
    """The layout that a model declares for a value; Opaque where it declares no shape."""
    if value.shape is None:
        raise Opaque(f"the shape of '{value.name}' is not known")
    return plain(_sizes(value))


def graph_input(value: ir.Value) -> Layout | None:
    """The layout of an input of the graph: each nameless axis is an unknown of its own.

    None where it has no shape and nothing that reads it tells how many axes it has.
    """
    sizes = _sizes(value) if value.shape is not None else [unknown(f"{value.name}.{k}") for k in range(_rank(value))]
    if value.shape is None and not sizes:
        return None
    named = [
        unknown(f"{value.name}.{k}") if isinstance(n, Dim) and n.atoms[0] in ("?", "-1") else n
        for k, n in enumerate(sizes)
    ]
    what = ", which may be fed" if value.const_value is not None else ""
    return plain(named, f"graph input '{value.name}'{what}")


def _rank(value: ir.Value) -> int:
    """How many axes a tensor without a shape has, as its readers take them; 0 where none tells."""
    seen, reached = {value}, [value]
    while reached:
        for node, index in reached.pop().uses():
            if told := _rank_read(node, index):
                return told
            if has(node, Trait.ELEMENTWISE, Trait.CHANNELWISE) and not has(node, Trait.BROADCAST) and not index:
                fresh = set(node.outputs[:1]) - seen
                seen |= fresh
                reached += fresh
    return 0


def _rank_read(node: ir.Node, index: int) -> int:
    """The rank that an operator takes at an input, where its definition, an attribute or its weight says so."""
    if index or node.domain not in ("", "ai.onnx"):
        return 0
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return len(node.attributes["perm"].as_ints())
    if node.op_type == "Gemm":
        return 2
    weight = node.inputs[1] if has(node, Trait.CONVOLUTION) and len(node.inputs) > 1 else None
    return len(constant_shape(weight)) if weight is not None else 0


def _sizes(value: ir.Value) -> list[Size]:
    sizes: list[Size] = []
    for axis, size in enumerate(value.shape or ()):
        known = size.value if isinstance(size, ir.SymbolicDim) else size
        # Paddle writes -1 and 0 for axes of any size.
        sizes.append(known if isinstance(known, int) and known > 0 else unknown(str(known or f"{value.name}.{axis}")))
    return sizes
