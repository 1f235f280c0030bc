"""The analysis of a model: its channel groups, and what is pinned and why."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import onnx_ir as ir

from chanc.analysis.findings import Findings
from chanc.analysis.fold_shapes import settled
from chanc.analysis.fold_weights import fold_weights
from chanc.analysis.groups import Group, find_groups, pin_text
from chanc.analysis.infer_shapes import infer_shapes
from chanc.analysis.order import ordered
from chanc.analysis.run import visit_model
from chanc.analysis.sizes import SizesAt, SizeTable
from chanc.analysis.solve import Units, solve
from chanc.boundary import boundary
from chanc.cost.cost import Cost, Counter, NodeCost
from chanc.cost.sizes import Declared
from chanc.errors import PlanError
from chanc.ir import load
from chanc.ir.collector import uncollected
from chanc.ir.normalize import normalize
from chanc.ir.sizes import Opened, Sizes, bind, sizes_of
from chanc.ops.spec import Number


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

    It was made at the sizes `given` for open axes of the model, which are those that were `opened`. `folded` names the
    weights that are constants here and that the caller's graph computes (`fold_weights`).

    It is `spent` once its model is rewritten in place: its groups speak of widths that are no more.
    """

    model: ir.Model
    groups: tuple[Group, ...]
    pinned: tuple[Pinned, ...]
    findings: Findings
    units: Units
    given: Sizes = field(default_factory=dict)
    opened: Opened = field(default_factory=dict)
    folded: tuple[str, ...] = ()
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

    def sizes(self, widths: Mapping[str, Number] | None = None) -> SizesAt:
        """The size of every tensor at given widths, by group id; a group that is not named keeps its own.

        Nothing is rewritten and no weight is read. Widths may be of any number type; integers give exact sizes where
        they are multiples of their group's step. A dynamic batch counts as 1.
        """
        return SizesAt(self._sizes, self._declared, widths or {})

    def cost_at(self, widths: Mapping[str, Number] | None = None) -> Cost:
        """Params and MACs of one sample at given widths (by group id, as in `sizes`)."""
        return self._counter(self.sizes(widths))

    def node_costs(self, widths: Mapping[str, Number] | None = None) -> dict[str, NodeCost]:
        """The cost of every node that has any at given widths, by the name of its first output."""
        return self._counter.nodes(self.sizes(widths))

    @functools.cached_property
    def _sizes(self) -> SizeTable:
        return SizeTable(self.findings, self.units, self.groups)

    @functools.cached_property
    def _declared(self) -> Declared:
        infer_shapes(self.model, self.findings)
        return Declared(self.model.graph)

    @functools.cached_property
    def _counter(self) -> Counter:
        return Counter(self.model.graph)

    @functools.cached_property
    def cost(self) -> Cost:
        """Params and MACs of the model for one sample, and what could not be counted."""
        return self.cost_at()

    @property
    def params(self) -> int:
        """The number of trained parameters."""
        return int(self.cost.params)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one sample."""
        return int(self.cost.macs)

    @property
    def macs_all(self) -> int:
        """Multiply-accumulates with BatchNorm (2 an element), activations and pooling, for one sample."""
        return int(self.cost.macs_all)


def analyze(
    model: object,
    *,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    fold: bool | Collection[str] = True,
) -> Analysis:
    """Find the channel groups of a model (a path, ModelProto, onnx_ir.Model or gs.Graph), which stays as it is.

    `dims` gives open axes a size, by the name of the dimension, `shapes` whole inputs: the analysis is made, and the
    work counted, at these. `fold` says whether weights that the graph computes from initializers alone are read as
    constants, as a rewrite makes them (`chanc.analysis.fold_weights`), or the names of those that are; False for a
    model that goes on to train. Raises ModelError where the model can't be read, or has no such axes.
    """
    copy = load(model)
    sizes = sizes_of(copy, dims, shapes)
    normalize(copy)
    folded = fold_weights(copy, None if fold is True else fold) if fold else ()
    if not sizes:
        return dataclasses.replace(analyze_model(copy), folded=folded)
    # Shapes are folded with the axes open: what is written must not be tied to the sizes given.
    with uncollected():
        findings, _ = settled(copy)
        opened = bind(copy, sizes)
        found = grouped(copy, visit_model(copy, open_data=findings.data), sizes, opened)
    return dataclasses.replace(found, folded=folded)


def analyze_model(model: ir.Model) -> Analysis:
    """Find the channel groups of a model that is in normal form already; its shapes are folded, in place."""
    with uncollected():
        return grouped(model, settled(model)[0])


@boundary("the search for channel groups")
def grouped(model: ir.Model, findings: Findings, given: Sizes | None = None, opened: Opened | None = None) -> Analysis:
    """The channel groups that were found in a model whose shapes are folded."""
    units = ordered(findings, solve(findings))
    return Analysis(model, find_groups(findings, units), _pinned(findings), findings, units, given or {}, opened or {})


def _pinned(findings: Findings) -> tuple[Pinned, ...]:
    seen: dict[Pinned, None] = {}
    for _, pin in findings.pins:
        seen.setdefault(Pinned(pin.tensor, pin.node, pin.op, pin.reason))
    for value, reason in findings.held.items():
        seen.setdefault(Pinned(value.name or "", "", "", reason))
    return tuple(seen)


__all__ = ["Analysis", "Group", "Pinned", "analyze", "analyze_model", "pin_text"]
