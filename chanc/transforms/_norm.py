"""A norm that was found in a decomposed form, and the Mul and Add that follow its middle."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from chanc.transforms._edit import Array, float64, is_op, only_use


@dataclass(frozen=True)
class Norm:
    """A norm that was found: from `x` to `output`, with its vectors (None: of unknown size) and attributes."""

    op_type: str
    x: ir.Value
    output: ir.Value
    scale: Array | None
    bias: Array | None
    attributes: dict[str, int | float]
    names: tuple[str | None, str | None]
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True)
class Tail:
    """A Mul and an Add with constants behind a norm, or one of them, or neither; nodes: last first."""

    output: ir.Value
    weight: ir.Value | None
    bias: ir.Value | None
    nodes: tuple[ir.Node, ...]

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The names of the two constants."""
        return (self.weight.name if self.weight else None, self.bias.name if self.bias else None)


def find_tail(value: ir.Value) -> Tail:
    found: dict[str, ir.Value | None] = {"Mul": None, "Add": None}
    nodes: list[ir.Node] = []
    for op in found:
        user = only_use(value)
        if user is None or not is_op(user, op):
            continue
        other = user.inputs[1] if user.inputs[0] is value else user.inputs[0]
        if float64(other) is not None:
            found[op], value = other, user.outputs[0]
            nodes.insert(0, user)
    return Tail(value, found["Mul"], found["Add"], tuple(nodes))
