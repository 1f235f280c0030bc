"""Which weights make channels and which take them: rules mark labels, and the axes that the labels came from get it."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.initializers import Initializers, ParameterAxis, Role, Use
from chanc.ir.dtypes import FLOATS


@dataclass(slots=True, repr=False)
class Roles:
    """The labels that were marked, and those of weights that are joined or added, which play one role."""

    _marked: list[tuple[IntArray, Role]] = field(default_factory=list)
    _takers: set[ir.Node] = field(default_factory=set)
    _parallel: list[tuple[IntArray, IntArray]] = field(default_factory=list)

    def mark(self, labels: IntArray, role: Role, node: ir.Node) -> None:
        """The parameters that have these labels as their own are producers or consumers, at a node, of its channels."""
        self._marked.append((labels, role))
        if role == "consumer":
            self._takers.add(node)

    def join(self, left: IntArray, right: IntArray) -> None:
        """The labels at right play the role that those at left are given."""
        self._parallel.append((left.ravel(), right.ravel()))

    def assign(
        self, initializers: Initializers, weights: Set[ir.Value]
    ) -> tuple[list[tuple[IntArray, str]], list[IntArray]]:
        """Hand the roles to the axes from which the labels came; `weights` are values computed from initializers alone.

        Returns the labels that can't be repeated, with the reason, and those whose consumers can't be shared out.
        """
        unscaled: list[tuple[IntArray, str]] = []
        own = initializers.own
        homes = {id(p.labels): p for p in own}
        starts: IntArray | None = None
        for labels, role in self._spread():
            home = homes.get(id(labels))
            if home is None and starts is None:  # most marks are of whole lines, which have a home
                starts = np.array([p.labels[0] if p.labels.size else -1 for p in own], dtype=np.int64)
            for parameter in [home] if home is not None else _homes(own, starts, labels):
                if {parameter.role, role} == {"producer", "consumer"}:
                    # Tied: what makes a copy would have to be cloned and divided at once.
                    reason = f"'{parameter.value.name}' makes its channels and takes them"
                    unscaled.append((parameter.labels, reason))
                parameter.role = role
        unscaled += [(p.labels, f"'{p.value.name}' takes channels and is combined with them")
                     for p in own if p.role == "consumer" and len(p.uses) > 1 and self._mixed(p, weights)]  # fmt: skip
        integers = (p for p in initializers.axes if p.role == "consumer" and p.value.dtype not in FLOATS)
        return unscaled, [p.labels for p in integers]

    def _mixed(self, parameter: ParameterAxis, weights: Set[ir.Value]) -> bool:
        """Whether some nodes take channels by a weight, and others read it as it is: they would see shares of it."""
        ends = _ends(parameter.uses, weights)
        return bool(ends & self._takers) and not ends <= self._takers

    def _spread(self) -> list[tuple[IntArray, Role]]:
        """The roles that were marked, and those that they give to weights joined with, or added to, the marked ones."""
        roles = list(self._marked)
        # Which of `roles` hold a label, so that each pair of weights looks at its own labels only.
        holders: dict[int, list[int]] = {label: [] for left, _ in self._parallel for label in left.tolist()}
        for index, (labels, _) in enumerate(roles):
            _held(holders, labels, index)
        for left, right in reversed(self._parallel):
            hits: dict[int, list[int]] = {}
            for place, label in enumerate(left.tolist()):
                for index in holders[label]:
                    hits.setdefault(index, []).append(place)
            for index in sorted(hits):
                labels = right[hits[index]]
                _held(holders, labels, len(roles))
                roles.append((labels, roles[index][1]))
        return roles


def _ends(uses: Iterable[Use], weights: Set[ir.Value]) -> set[ir.Node]:
    """The nodes at which a weight meets data, past those that only make other weights of it."""
    found: set[ir.Node] = set()
    waiting = [node for node, _ in uses]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        if _makes_weights(node, weights):
            waiting += [user for user, _ in node.outputs[0].uses()]
    return {node for node in found if not _makes_weights(node, weights) and node.op_type not in ("Shape", "Size")}


def _makes_weights(node: ir.Node, weights: Set[ir.Value]) -> bool:
    return bool(node.outputs) and node.outputs[0] in weights


def _held(holders: dict[int, list[int]], labels: IntArray, index: int) -> None:
    """Note that the role of that index holds these labels, as far as anybody asks for them."""
    if holders:
        for label in np.unique(labels).tolist():
            if label in holders:
                holders[label].append(index)


def _homes(own: list[ParameterAxis], starts: IntArray | None, labels: IntArray) -> list[ParameterAxis]:
    """The parameter axes whose own labels are among these; `starts` are the first labels of all, ascending."""
    if starts is None or not starts.size or not labels.size:
        return []
    found = np.unique(np.searchsorted(starts, labels.ravel(), side="right") - 1)
    parameters = [own[k] for k in found.tolist() if k >= 0]
    low, high = labels.min(), labels.max()
    return [p for p in parameters if p.labels.size and p.labels[0] <= high and low <= p.labels[-1]]
