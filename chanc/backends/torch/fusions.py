"""Functions that exporters write out of several nodes and that PyTorch has as one: SiLU and GELU.

silu(x) = x sigmoid(x)                       Sigmoid, Mul
gelu(x) = x / 2 (1 + erf(x / sqrt(2)))       Div, Erf, Add, Mul, Mul in either order
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

Fusions = dict[ir.Node, tuple[str, ir.Value]]


def find(graph: ir.Graph) -> tuple[Fusions, set[ir.Node]]:
    """Last node of each chain -> (function, x), and the nodes of the chains that need not be written."""
    found: Fusions = {}
    skip: set[ir.Node] = set()
    for node in graph:
        chain = _silu(node) if node.op_type == "Sigmoid" else _gelu(node) if node.op_type == "Erf" else None
        if chain is not None:
            name, x, nodes = chain
            found[nodes[-1]] = (name, x)
            skip.update(nodes[:-1])
    return found, skip


def _silu(node: ir.Node) -> tuple[str, ir.Value, list[ir.Node]] | None:
    x, last = node.inputs[0], _only_user(node)
    if x is None or last is None or last.op_type != "Mul" or _other(last, node.outputs[0]) is not x:
        return None
    return "F.silu", x, [node, last]


def _gelu(node: ir.Node) -> tuple[str, ir.Value, list[ir.Node]] | None:
    scaled = node.inputs[0].producer() if node.inputs[0] is not None else None
    add = _only_user(node)
    if scaled is None or add is None or add.op_type != "Add" or _number(_other(add, node.outputs[0])) != 1.0:
        return None
    if _only_user(scaled) is not node or len(scaled.inputs) != 2:
        return None
    x, factor = scaled.inputs[0], _number(scaled.inputs[1])
    wanted = {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}.get(scaled.op_type)
    if x is None or wanted is None or factor is None or not math.isclose(factor, wanted, rel_tol=1e-3):
        return None
    first = _only_user(add)
    if first is None or first.op_type != "Mul":
        return None
    partner = _other(first, add.outputs[0])
    half = partner.producer() if partner is not None else None
    if partner is x:
        last = _only_user(first)
        if last is not None and last.op_type == "Mul" and _number(_other(last, first.outputs[0])) == 0.5:
            return "F.gelu", x, [scaled, node, add, first, last]
    elif half is not None and half.op_type == "Mul" and _only_user(half) is first and _number(_other(half, x)) == 0.5:
        return "F.gelu", x, [scaled, node, add, half, first]
    return None


def _only_user(node: ir.Node) -> ir.Node | None:
    value = node.outputs[0]
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    if len(node.inputs) != 2 or value not in node.inputs or node.domain:
        return None
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def _number(value: ir.Value | None) -> float | None:
    if value is None or value.const_value is None or (value.is_graph_input() and not value.is_initializer()):
        return None
    array = np.asarray(value.const_value.numpy())
    return float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind == "f" else None
