"""What a rewrite did to every operand whose shape changed: enough for anyone to check it against the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chanc.analysis.disjoint_set import IntArray


@dataclass(frozen=True, slots=True)
class TraceOperand:
    """One use of a resized tensor: the node (its first output), the input, and for each axis the source positions."""

    node: str
    input: int
    initializer: str
    axes: dict[int, IntArray]

    def __repr__(self) -> str:
        sizes = ", ".join(f"axis {axis} has {source.size} channels" for axis, source in sorted(self.axes.items()))
        return f"<TraceOperand '{self.initializer}', input {self.input} of '{self.node}': {sizes}>"


@dataclass(frozen=True, slots=True)
class Trace:
    """The groups' old and new widths in channels, and all operands that changed.

    `exact` says whether the channels that stay keep their function (no normalisation across resized channels).
    """

    exact: bool
    groups: dict[str, tuple[int, int]]
    operands: tuple[TraceOperand, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        changed = sum(old != new for old, new in self.groups.values())
        exact = "exact" if self.exact else "not exact"
        return f"<Trace: {changed} of {len(self.groups)} groups changed, {len(self.operands)} operands, {exact}>"

    def to_json(self) -> dict[str, Any]:
        """The trace file's content (format 1)."""
        return {
            "format": 1,
            "exact": self.exact,
            "groups": {name: {"old": old, "new": new} for name, (old, new) in self.groups.items()},
            "operands": [
                {
                    "node": operand.node,
                    "input": operand.input,
                    "initializer": operand.initializer,
                    "axes": {str(axis): source.tolist() for axis, source in sorted(operand.axes.items())},
                }
                for operand in self.operands
            ],
            "notes": list(self.notes),
        }
