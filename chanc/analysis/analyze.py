"""The analysis of a model: its channel groups, and what is pinned and why."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from html import escape

import onnx_ir as ir

from chanc.analysis.findings import Findings
from chanc.analysis.groups import Group, find_groups, pin_text
from chanc.analysis.order import ordered
from chanc.analysis.run import visit_model
from chanc.analysis.solve import Units, solve
from chanc.errors import PlanError
from chanc.ir import load
from chanc.ir.collector import uncollected
from chanc.ir.normalize import normalize


@dataclass(frozen=True, slots=True)
class Pinned:
    """A place where channels must stay: the tensor, the node that needs it so, and why."""

    tensor: str
    node: str
    op: str
    reason: str

    def __repr__(self) -> str:
        return f"<Pinned '{self.tensor}': {pin_text(self.node, self.op, self.reason)}>"


@dataclass(frozen=True)
class Analysis:
    """What `analyze` found. `model` is the normal form that the groups speak of; the caller's model is untouched.

    It is `spent` once its model is rewritten in place: its groups speak of widths that are no more.
    """

    model: ir.Model
    groups: tuple[Group, ...]
    pinned: tuple[Pinned, ...]
    findings: Findings
    units: Units
    spent: bool = field(default=False, init=False)

    def __repr__(self) -> str:
        return f"<Analysis of '{self.model.graph.name or ''}': {len(self.groups)} groups, {len(self.pinned)} pinned>"

    def _repr_html_(self) -> str:
        """A table of the groups, for notebooks."""
        rows = [(group.id, group.size, group.step, group.reason or "may change") for group in self.groups]
        body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        head = "<tr><th>group</th><th>channels</th><th>step</th><th></th></tr>"
        return f"<table><caption>{escape(repr(self))}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"

    def spend(self) -> None:
        """Say that the model is about to be changed in place."""
        object.__setattr__(self, "spent", True)

    @functools.cached_property
    def by_id(self) -> dict[str, Group]:
        """The groups by id."""
        return {group.id: group for group in self.groups}

    def group(self, name: str) -> Group:
        """The group of that id; PlanError where there is none."""
        if name not in self.by_id:
            raise PlanError(f"there is no channel group '{name}' in this model")
        return self.by_id[name]

    @functools.cached_property
    def cost(self) -> tuple[int, int, int]:
        """(params, MACs of convolutions and linear layers, MACs of all operators), for a batch of one."""
        from chanc.analysis.infer_shapes import infer_shapes
        from chanc.cost.cost import cost

        infer_shapes(self.model, self.findings)
        found = cost(self.model)
        return found.params, found.macs, found.macs_all

    @property
    def params(self) -> int:
        """The number of trained parameters."""
        return self.cost[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one sample."""
        return self.cost[1]

    @property
    def macs_all(self) -> int:
        """Multiply-accumulates with BatchNorm (2 an element), activations and pooling, for one sample."""
        return self.cost[2]


def analyze(model: object) -> Analysis:
    """Find the channel groups of a model (a path, ModelProto, onnx_ir.Model or gs.Graph), which stays as it is.

    Raises ModelError where the model can't be read.
    """
    copy = load(model)
    normalize(copy)
    return analyze_model(copy)


def analyze_model(model: ir.Model, modes: dict[object, str] | None = None) -> Analysis:
    """Find the channel groups of a model that is in normal form already; it is not changed.

    `modes` are those of earlier findings: the same nodes at other widths are then read in the same way.
    """
    with uncollected():
        findings = visit_model(model, modes)
        units = ordered(findings, solve(findings))
        return Analysis(model, find_groups(findings, units), _pinned(findings), findings, units)


def _pinned(findings: Findings) -> tuple[Pinned, ...]:
    seen: dict[Pinned, None] = {}
    for _, pin in findings.pins:
        seen.setdefault(Pinned(pin.tensor, pin.node, pin.op, pin.reason))
    for value, reason in findings.held.items():
        seen.setdefault(Pinned(value.name or "", "", "", reason))
    return tuple(seen)


__all__ = ["Analysis", "Group", "Pinned", "analyze", "analyze_model", "pin_text"]
