"""Pools over every axis of a tensor, batch and channels among them, as Keras writes them from JAX (`reduce_window`).

    Unsqueeze axes [0, 1] -> MaxPool kernel [1, 2, 2, 1] -> Squeeze    is    Transpose -> MaxPool [2, 2] -> Transpose

onnxruntime pools over three axes at most, and an axis whose window is 1 isn't pooled at all. Two axes that aren't
pooled, the first and the last of those, become batch and channels (operator specification of MaxPool, AveragePool).
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from chanc.ir.names import Names, value_names
from chanc.ir.nodes import nodes_of

POOLS = ("AveragePool", "LpPool", "MaxPool")
MOST = 3
"""Axes over which onnxruntime pools."""
LISTS = {"kernel_shape": 1, "strides": 1, "dilations": 1}
"""Attributes with an entry an axis, and the entry of an axis that isn't pooled."""


def narrow_pools(graph: ir.Graph) -> bool:
    """Write such pools between Transposes, in place; names of what the Squeeze makes stay. Says whether any was."""
    found = list(wide_pools(graph))
    names = Names(value_names(graph) if found else ())
    for pool, order in found:
        _narrow(names, pool, order)
    return bool(found)


def wide_pools(graph: ir.Graph) -> Iterator[tuple[ir.Node, list[int]]]:
    """The pools over more axes than runtimes take, and the order of axes in which fewer do."""
    for node in nodes_of(graph):
        if node.op_type not in POOLS or node.domain not in ("", "ai.onnx") or len(node.outputs) > 1:
            continue
        kernel = node.attributes.get_ints("kernel_shape", ())
        order = _order(node, len(kernel)) if len(kernel) > MOST else None
        if order is not None and _stands_alone(node):
            yield node, order


def _order(pool: ir.Node, count: int) -> list[int] | None:
    """The axes that aren't pooled, then those that are; None where too few aren't."""
    lists = {name: list(pool.attributes.get_ints(name, (one,) * count)) for name, one in LISTS.items()}
    pads = list(pool.attributes.get_ints("pads", (0,) * 2 * count))
    idle = [
        k for k in range(count)
        if lists["kernel_shape"][k] == lists["strides"][k] == 1 and pads[k] == pads[k + count] == 0
    ]  # fmt: skip
    ends = [idle[0], idle[-1]] if len(idle) > 1 else []
    order = [*ends, *(k for k in range(count) if k not in ends)]
    return order if ends and count - 2 <= MOST else None


def _stands_alone(pool: ir.Node) -> bool:
    """Whether the pool's own batch and channels are axes that were put in front of it and go behind it."""
    before, after = pool.inputs[0].producer() if pool.inputs[0] is not None else None, _only_user(pool.outputs[0])
    return (
        before is not None and before.op_type == "Unsqueeze" and _axes(before) == [0, 1]
        and after is not None and after.op_type == "Squeeze" and _axes(after) == [0, 1]
    )  # fmt: skip


def _only_user(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _axes(node: ir.Node) -> list[int] | None:
    """The axes of an Unsqueeze or Squeeze: an attribute before opset 13, an input since."""
    if "axes" in node.attributes:
        return sorted(node.attributes["axes"].as_ints())
    tensor = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    return sorted(int(n) for n in tensor.numpy().ravel()) if tensor is not None else None


def _narrow(names: Names, pool: ir.Node, order: list[int]) -> None:
    before, after = pool.inputs[0].producer(), _only_user(pool.outputs[0])  # type: ignore[union-attr]
    assert before is not None and after is not None and pool.graph is not None and before.inputs[0] is not None
    graph, result, inner = pool.graph, after.outputs[0], order[2:]
    attributes = [_picked(attribute, inner) for attribute in pool.attributes.values()]
    turned = ir.node("Transpose", [before.inputs[0]], {"perm": order})
    made = ir.Node("", pool.op_type, [turned.outputs[0]], attributes, name=pool.name)
    back = ir.node("Transpose", [made.outputs[0]], {"perm": [order.index(k) for k in range(len(order))]})
    graph.insert_before(pool, [turned, made, back])
    for step, joint in ((turned, "turned"), (made, "pool")):
        step.outputs[0].name = names.fresh(f"{result.name}.{joint}")
    for step in (turned, made, back):
        step.outputs[0].type = result.type
    new = back.outputs[0]
    new.shape, name, result.name = result.shape, result.name, None
    result.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
    graph.remove([after, pool], safe=True)
    if not before.outputs[0].uses() and not before.outputs[0].is_graph_output():
        graph.remove(before, safe=True)


def _picked(attribute: ir.Attr, axes: list[int]) -> ir.Attr:
    """An attribute of the pool, of fewer axes."""
    if attribute.name not in (*LISTS, "pads"):
        return attribute
    values = list(attribute.as_ints())
    count = len(values) // 2
    chosen = [*axes, *(k + count for k in axes)] if attribute.name == "pads" else axes
    return ir.AttrInt64s(attribute.name, [values[k] for k in chosen])
