"""Where an axis goes: whether it meets an activation further on, element by element.

StyleGAN2's kernels are stretched by a style, squared and summed; the root is a factor of each channel that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from chanc.ops import Trait, has


def meets(value: ir.Value, axis: int, rank: int, asked: set[ir.Value]) -> bool:
    """Whether that axis of a value with `rank` axes meets another activation at every node that takes the value.

    The values whose readers were looked at are added to `asked`.
    """
    users = value.uses()
    asked.add(value)
    if not users or value.is_graph_output():
        return False
    return all(_goes_on(value, user, axis, rank, asked) for user, _ in users)


def _goes_on(value: ir.Value, node: ir.Node, axis: int, rank: int, asked: set[ir.Value]) -> bool:
    """Whether the axis of a value meets another at a node, or behind it."""
    others = [other for other in node.inputs if other is not None and other is not value]
    if has(node, Trait.BROADCAST) and any(other.const_value is None for other in others):
        return True
    after = _after(node, axis, rank)
    return after is not None and len(node.outputs) == 1 and meets(node.outputs[0], *after, asked)


def _after(node: ir.Node, axis: int, rank: int) -> tuple[int, int] | None:
    """The axis and the rank behind a node that keeps the axis; None where that isn't known."""
    if has(node, Trait.ELEMENTWISE):
        return (axis, rank) if all(_single(value) for value in node.inputs) else None
    axes = _axes(node)
    if axes is None:
        return None
    if node.op_type == "Unsqueeze":
        rank += len(axes)
        kept = [k for k in range(rank) if k not in {n % rank for n in axes}]
        return kept[axis], rank
    gone = {n % rank for n in axes}
    if axis in gone or (node.op_type != "Squeeze" and not has(node, Trait.REDUCTION)):
        return None
    keep = node.attributes.get_int("keepdims", 1) if node.op_type != "Squeeze" else 0
    return (axis, rank) if keep else (axis - sum(n < axis for n in gone), rank - len(gone))


def _single(value: ir.Value | None) -> bool:
    """Whether a value is an activation, or one number."""
    return value is None or value.const_value is None or value.const_value.size == 1


def _axes(node: ir.Node) -> Sequence[int] | None:
    """The axes of a reduction, or of Squeeze and Unsqueeze, from an attribute or an input; None where not told."""
    given = node.attributes.get("axes")
    if given is not None:
        return given.as_ints()
    value = node.inputs[1] if len(node.inputs) > 1 else None
    return None if value is None or value.const_value is None else value.const_value.numpy().ravel().tolist()
