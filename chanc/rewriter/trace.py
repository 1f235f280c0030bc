"""What a rewrite did to every operand whose shape changed: enough for anyone to check it against the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chanc.analysis.disjoint_set import IntArray


@dataclass(frozen=True, slots=True)
class TraceOperand:
    """One use of a resized tensor: the node (its first output), the input, and for each axis the source positions.

    `groups` has the ids of the groups whose channels changed on each axis.
    """

    node: str
    input: int
    initializer: str
    axes: dict[int, IntArray]
    groups: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = ", ".join(f"axis {axis} has {source.size} channels" for axis, source in sorted(self.axes.items()))
        return f"<TraceOperand '{self.initializer}', input {self.input} of '{self.node}': {sizes}>"


@dataclass(frozen=True, slots=True)
class TraceEdge:
    """What became of one consumer that doesn't keep all its columns: the node (its first output), the input and axis
    of its weight, and the positions that are kept.

    how: "producer" where the others went with their producers, "slice", "gather", "dense" where the consumer reads all
    that is there, by zeros, or "gone" where it kept nothing and is no more; several are joined by "+". reason: why it
    isn't narrower, where it should have been.
    """

    node: str
    input: int
    axis: int
    kept: IntArray
    how: str
    reason: str = ""

    def __repr__(self) -> str:
        return f"<TraceEdge input {self.input} of '{self.node}': {self.kept.size} kept, {self.how}>"

    def to_json(self) -> dict[str, Any]:
        """The edge as the trace file has it."""
        return {
            "node": self.node, "input": self.input, "axis": self.axis, "kept": self.kept.tolist(), "how": self.how,
            "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a group: whether it changed, and why not, or why the change isn't exact.

    `asked` tells whether a plan or a scale wanted another width: then a group that didn't change was left alone.
    """

    changed: bool
    reason: str = ""
    exact: bool = True
    asked: bool = True

    def __repr__(self) -> str:
        said = ("changed" if self.exact else "changed, not exact") if self.changed else "left"
        return f"<Verdict: {said}{': ' if self.reason else ''}{self.reason}>"

    @property
    def left(self) -> bool:
        """Whether another width was wanted and the group was left alone."""
        return self.asked and not self.changed

    def to_json(self) -> dict[str, Any]:
        """The verdict as the trace file has it."""
        return {"verdict": "changed" if self.changed else "left", "reason": self.reason, "exact": self.exact}


@dataclass(frozen=True, slots=True)
class Trace:
    """The groups' old and new widths in channels, all operands that changed, and a verdict for every group.

    `exact` says whether the channels that stay keep their function: whether all changes are exact. `edges` has the
    consumers of which a plan kept a part, by name, `unread` the groups that lost channels only because of these.
    """

    exact: bool
    groups: dict[str, tuple[int, int]]
    operands: tuple[TraceOperand, ...] = ()
    notes: tuple[str, ...] = field(default=())
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    edges: Mapping[str, TraceEdge] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def __repr__(self) -> str:
        changed = sum(old != new for old, new in self.groups.values())
        exact = "exact" if self.exact else "not exact"
        return f"<Trace: {changed} of {len(self.groups)} groups changed, {len(self.operands)} operands, {exact}>"

    @property
    def left(self) -> dict[str, str]:
        """The groups for which another width was wanted and that were left alone, and why; edges that read zeros."""
        groups = {name: verdict.reason for name, verdict in self.verdicts.items() if verdict.left}
        return groups | {name: edge.reason for name, edge in self.edges.items() if edge.reason}

    @property
    def inexact(self) -> dict[str, str]:
        """The groups that changed and don't keep the function of the rest, and why."""
        return {name: v.reason for name, v in self.verdicts.items() if v.changed and not v.exact}

    def to_json(self) -> dict[str, Any]:
        """The trace file's content: format 2 where there are edges, else format 1."""
        edges = {
            "edges": {name: edge.to_json() for name, edge in self.edges.items()},
            "unread": list(self.unread),
        }
        return {
            "format": 2 if self.edges else 1,
            "exact": self.exact,
            "groups": {name: {"old": old, "new": new} for name, (old, new) in self.groups.items()},
            "verdicts": {name: verdict.to_json() for name, verdict in self.verdicts.items()},
            "operands": self._operands(),
            "notes": list(self.notes),
            **(edges if self.edges else {}),
        }

    def _operands(self) -> list[dict[str, Any]]:
        """The operands as the file has them; axes that have equal sources have one list of them there."""
        arrays = {id(source): source for operand in self.operands for source in operand.axes.values()}
        distinct = {source.tobytes(): source.tolist() for source in arrays.values()}
        lists = {key: distinct[source.tobytes()] for key, source in arrays.items()}
        return [
            {
                "node": operand.node,
                "input": operand.input,
                "initializer": operand.initializer,
                "axes": {str(axis): lists[id(operand.axes[axis])] for axis in sorted(operand.axes)},
                "groups": {str(axis): list(operand.groups.get(axis, ())) for axis in sorted(operand.axes)},
            }
            for operand in self.operands
        ]
