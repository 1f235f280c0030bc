"""Plans: group id or pattern -> new width, scale or kept channels; and how many copies of each unit that makes.

In format 2 a plan has such `groups`, and `edges`: what single consumers keep (`chanc.rewriter.edges`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chanc.analysis import Analysis, Group
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.patterns import matching
from chanc.errors import PlanError
from chanc.rewriter.choose import choose
from chanc.rewriter.importance import IMPORTANCES, Evidence, Gathered, Importance

Plan = Mapping[str, Any]

MAX_WIDTH = 1 << 20
"""Channels. A wider group is a slip of the pen, and its weights would fill any memory."""
DEVICE_GRAIN, NARROW_GRAIN = 8, 4
"""Channels at a time that kernels are fast with (they pad or fall back otherwise), and those of narrow groups."""
NARROW = 16
"""Channels under which a group changes by finer grains."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """One group's resize: copies of each unit [units], and the old unit whose values each new one takes [new units].

    grows: whether anything is repeated. permuted: whether units that stay trade places: the graph remains, and values
    move on every operand alike. changed: whether anything goes, is repeated or moves.
    """

    group: Group
    copies: IntArray
    source: IntArray
    grows: bool = field(init=False)
    permuted: bool = field(init=False)
    changed: bool = field(init=False)

    def __post_init__(self) -> None:
        turns = np.count_nonzero(self.source[1:] < self.source[:-1])
        permuted = bool(turns) and self.source.size == int(np.count_nonzero(self.copies))
        object.__setattr__(self, "grows", bool(np.count_nonzero(self.copies > 1)))
        object.__setattr__(self, "permuted", permuted)
        object.__setattr__(self, "changed", permuted or bool(np.count_nonzero(self.copies != 1)))

    def __repr__(self) -> str:
        return f"<Resizing of '{self.group.id}': {self.group.size} to {self.size} channels>"

    @property
    def size(self) -> int:
        """The new width in channels."""
        return int(self.copies.sum()) * self.group.step

    @property
    def inexact(self) -> str:
        """Why the function of the rest doesn't stay; '' where it does."""
        return self.group.inexact or (self.group.unscaled if self.grows else "")


@dataclass(frozen=True, slots=True)
class Sizing:
    """How widths are rounded: to multiples of `round_to` channels and of a group's step, never under `min_width`.

    Without `round_to` to what devices like: `DEVICE_GRAIN`, in narrow groups `NARROW_GRAIN`, or the step where that is
    larger.
    """

    round_to: int | None = 1
    min_width: int = 1

    def grain(self, group: Group) -> int:
        """Widths of the group are multiples of this many channels."""
        wanted = self.round_to or (NARROW_GRAIN if group.size < NARROW else DEVICE_GRAIN)
        return group.step if self.round_to is None and group.step >= wanted else math.lcm(group.step, wanted)

    def units(self, group: Group, width: float) -> int:
        """The number of units for a wanted width in channels: at least one."""
        grain = self.grain(group)
        floor = -(-max(self.min_width, 1) // grain) * grain
        return int(max(round(width / grain) * grain, floor)) // group.step


@dataclass(frozen=True, slots=True)
class Apart:
    """Groups that don't go with the others, by pattern: those that stay (`keep`), and those with a share of their own.

    Where several shares name a group the last one counts, and `keep` before all. Without `heads` attention keeps its
    heads.
    """

    keep: Sequence[str] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)
    heads: bool = True

    def shares(self, analysis: Analysis) -> dict[str, float | None]:
        """The share by group id, None for those that stay. Raises: PlanError."""
        found: dict[str, float | None] = {}
        for pattern, share in self.ratios.items():
            if not _number(share) or share <= 0:
                raise PlanError(f"the ratio of {pattern!r} must be a number above 0, not {share!r}")
            found |= dict.fromkeys((group.id for group in _movable(analysis, pattern)), share)
        staying = [group for group in analysis.groups if group.heads and not self.heads]
        staying += [group for pattern in self.keep for group in matching(analysis, pattern)]
        return found | dict.fromkeys((group.id for group in staying), None)


def load_plan(path: str | Path) -> Plan:
    """Read a plan file; PlanError where it is not a JSON object."""
    try:
        plan = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(plan, dict):
        raise PlanError(f"{path} does not hold an object of group ids")
    return plan


def parted(plan: Plan | None) -> tuple[Plan | None, Mapping[str, Any]]:
    """What a plan says of groups, and of edges: it says so of both in format 2, else it is the groups alone."""
    if not isinstance(plan, Mapping) or not ("format" in plan or isinstance(plan.get("edges"), Mapping)):
        return plan, {}
    parts = plan.get("groups", {}), plan.get("edges", {})
    extra = set(plan) - {"format", "groups", "edges"}
    if extra or plan.get("format", 2) != 2 or not all(isinstance(part, Mapping) for part in parts):
        raise PlanError('a plan with edges is {"format": 2, "groups": {...}, "edges": {...}}, and nothing else')
    return parts


def resizings(
    analysis: Analysis,
    plan: Plan | None,
    scale: float | None,
    importance: str | Importance,
    sizing: Sizing,
    rng: np.random.Generator,
    gathered: Gathered | None = None,
    apart: Apart | None = None,
) -> list[Resizing]:
    """What a plan, or one scale for all, asks of each group; PlanError for what can't be had."""
    if plan is not None and scale is not None:
        raise PlanError("give a plan or a scale, not both")
    if plan is not None and not isinstance(plan, Mapping):
        raise PlanError(f"a plan maps group ids to widths; this is a {type(plan).__name__}")
    evidence = Evidence(analysis.model, rng, gathered)
    wanted = _planned(analysis, plan or {})
    if scale is not None:
        if not _number(scale) or scale <= 0:
            raise PlanError(f"a scale must be a number above 0, not {scale}")
        wanted = {group.id: {"scale": scale} for group in analysis.groups if group.resizable}
    for name, share in (apart or Apart()).shares(analysis).items():
        wanted[name] = {"scale": share} if share is not None else analysis.group(name).size
    measure = measure_of(importance)
    return [
        _resizing(group, wanted[group.id], measure, sizing, evidence)
        for group in analysis.groups
        if group.id in wanted and group.resizable
    ]


def measure_of(importance: str | Importance) -> Importance:
    """The importance of that name, or the function itself."""
    return IMPORTANCES[importance] if isinstance(importance, str) else importance


def _planned(analysis: Analysis, plan: Plan) -> dict[str, Any]:
    """What a plan asks, by group id: where several of its patterns name a group, the last one counts."""
    wanted: dict[str, Any] = {}
    for name, wish in plan.items():
        if not isinstance(name, str):
            raise PlanError(f"a plan maps group ids to widths; {name!r} is none")
        groups: Sequence[Group] = matching(analysis, name)
        if any(wish != group.size for group in groups):
            groups = _movable(analysis, name)
        wanted |= {group.id: wish for group in groups}
    return wanted


def _movable(analysis: Analysis, pattern: str) -> list[Group]:
    """The groups of a pattern that may change. Raises: PlanError where none is."""
    found = matching(analysis, pattern)
    movable = [group for group in found if group.resizable]
    if not movable:
        raise PlanError(f"group '{found[0].id}' can't change: {found[0].reason}")
    return movable


def _resizing(group: Group, wish: Any, importance: Importance, sizing: Sizing, evidence: Evidence) -> Resizing:
    count = group.units.size
    if isinstance(wish, dict) and set(wish) == {"keep"}:
        return _kept(group, wish["keep"])
    if isinstance(wish, dict) and set(wish) == {"first"} and _integer(wish["first"]):
        return _first(group, _units(group, wish["first"]))
    if isinstance(wish, dict) and set(wish) == {"scale"} and _number(wish["scale"]) and wish["scale"] > 0:
        new = sizing.units(group, wish["scale"] * group.size)
    elif _integer(wish):
        new = _units(group, wish)
    else:
        raise PlanError(f'group \'{group.id}\': give a width, {{"scale": S}} or {{"keep": [...]}}, not {wish!r}')
    _bounded(group, new)
    copies = np.full(count, new // count, dtype=np.int64)
    if new % count:
        copies[choose(group, new % count, importance, evidence)] += 1
    source: IntArray = np.repeat(np.arange(count, dtype=np.int64), copies)
    return Resizing(group, copies, source)


def _units(group: Group, width: int) -> int:
    """The units of a width that is asked for."""
    if width < 1:
        raise PlanError(f"group '{group.id}': a width must be at least 1, not {width}")
    if width % group.step:
        raise PlanError(f"group '{group.id}': a width must be a multiple of its step {group.step}, not {width}")
    return int(width) // group.step


def _bounded(group: Group, units: int) -> None:
    if units * group.step > MAX_WIDTH:
        raise PlanError(f"group '{group.id}': a width of {units * group.step} channels; {MAX_WIDTH} is the most")


def _first(group: Group, new: int) -> Resizing:
    """The first units stay where they are, the last ones go, and new ones, copies of the last, stand behind them."""
    _bounded(group, new)
    count = group.units.size
    source: IntArray = np.minimum(np.arange(new, dtype=np.int64), count - 1)
    return Resizing(group, np.bincount(source, minlength=count), source)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def channels_of(group: Group, units: IntArray) -> list[int]:
    """The channels of units, as `{"keep": [...]}` has them: positions on the group's first producer, ascending."""
    places = np.sort(group.primary.indices.ravel())
    found: list[int] = np.sort(np.searchsorted(places, group.primary.indices[units].ravel())).tolist()
    return found


def _kept(group: Group, keep: Any) -> Resizing:
    """The channels to keep, as positions on the group's first producer; whole units."""
    if not isinstance(keep, list) or not keep or not all(map(_integer, keep)):
        raise PlanError(f"group '{group.id}': \"keep\" must be a list of channels, not {keep!r}")
    channels = np.array(sorted(set(keep)), dtype=np.int64)
    if channels[0] < 0 or channels[-1] >= group.size:
        raise PlanError(f"group '{group.id}' has channels 0 to {group.size - 1}")
    primary = group.primary
    places = np.sort(primary.indices.ravel())
    inside = np.isin(primary.indices, places[channels])
    whole = np.asarray(inside.all(axis=1))
    if (inside.any(axis=1) != whole).any():
        raise PlanError(f"group '{group.id}' changes in steps of {group.step} channels: keep all of a step or none")
    copies = whole.astype(np.int64)
    source: IntArray = np.flatnonzero(whole)
    return Resizing(group, copies, source)
