"""Plans: group id -> new width, scale or kept channels; and how many copies of each unit that makes.

In format 2 a plan has such `groups`, and `edges`: what single consumers keep (`chanc.rewriter.edges`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chanc.analysis import Analysis, Group
from chanc.analysis.disjoint_set import IntArray
from chanc.errors import PlanError
from chanc.rewriter.choose import choose
from chanc.rewriter.importance import IMPORTANCES, Evidence, Gathered, Importance

Plan = Mapping[str, Any]

MAX_WIDTH = 1 << 20
"""Channels. A wider group is a slip of the pen, and its weights would fill any memory."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """One group's resize: copies of each unit [units], and the old unit whose values each new one takes [new units]."""

    group: Group
    copies: IntArray
    source: IntArray

    def __repr__(self) -> str:
        return f"<Resizing of '{self.group.id}': {self.group.size} to {self.size} channels>"

    @property
    def size(self) -> int:
        """The new width in channels."""
        return int(self.copies.sum()) * self.group.step

    @property
    def grows(self) -> bool:
        """Whether anything is repeated."""
        return bool((self.copies > 1).any())

    @property
    def inexact(self) -> str:
        """Why the function of the rest doesn't stay; '' where it does."""
        return self.group.inexact or (self.group.unscaled if self.grows else "")

    @property
    def changed(self) -> bool:
        """Whether anything goes, is repeated or moves."""
        return self.permuted or bool((self.copies != 1).any())

    @property
    def permuted(self) -> bool:
        """Whether units that stay trade places: the graph remains, and values move on every operand alike."""
        return self.source.size == np.count_nonzero(self.copies) and bool((np.diff(self.source) < 0).any())


@dataclass(frozen=True, slots=True)
class Sizing:
    """How widths are rounded: to a multiple of `round_to` channels where the step allows, never under `min_width`."""

    round_to: int = 1
    min_width: int = 1

    def units(self, group: Group, width: float) -> int:
        """The number of units for a wanted width in channels: at least one."""
        grain = math.lcm(group.step, max(self.round_to, 1)) if self.round_to > 1 else group.step
        floor = -(-max(self.min_width, 1) // grain) * grain
        return int(max(round(width / grain) * grain, floor)) // group.step


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
) -> list[Resizing]:
    """What a plan, or one scale for all, asks of each group; PlanError for what can't be had."""
    if plan is not None and scale is not None:
        raise PlanError("give a plan or a scale, not both")
    if plan is not None and not isinstance(plan, Mapping):
        raise PlanError(f"a plan maps group ids to widths; this is a {type(plan).__name__}")
    if isinstance(importance, str):
        importance = IMPORTANCES[importance]
    evidence = Evidence(analysis.model, rng, gathered)
    wanted: dict[str, Any] = dict(plan or {})
    for name in wanted:
        group = analysis.group(name)
        if not group.resizable and not _same(group, wanted[name]):
            raise PlanError(f"group '{name}' can't change: {group.reason}")
    if scale is not None:
        if not _number(scale) or scale <= 0:
            raise PlanError(f"a scale must be a number above 0, not {scale}")
        wanted = {group.id: {"scale": scale} for group in analysis.groups if group.resizable}
    result = []
    for group in analysis.groups:
        if group.id in wanted and group.resizable:
            result.append(_resizing(group, wanted[group.id], importance, sizing, evidence))
    return result


def _same(group: Group, wish: Any) -> bool:
    return bool(wish == group.size)


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
