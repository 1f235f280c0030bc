"""Random plans for a model's channel groups, and the oracle that fits each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chanc.analysis import Analysis, Group, analyze
from chanc.backends import ort
from chanc.oracles import TOLERANCE, differences, zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.trace import Trace

SHRINKS = (0.25, 0.5, 0.75)
GROWTHS = (1.5, 2.0)


@dataclass(frozen=True)
class Trial:
    """A plan and options of `rewrite`. `oracle` says what must hold: "shrink", "widen", or "runs"."""

    name: str
    oracle: str
    plan: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


def random_trials(analysis: Analysis, seed: int) -> Iterator[Trial]:
    """Plans in every form: scales at random for each group, kept channels, widths in multiples of 8.

    Exact groups go through an oracle; at last all groups are resized, which must leave a model that runs.
    """
    rng = np.random.default_rng(seed)
    free = [group for group in analysis.groups if group.resizable]
    exact = [group for group in free if group.exact]
    yield Trial("shrink", "shrink", {group.id: {"scale": float(rng.choice(SHRINKS))} for group in exact})
    growing = {group.id: {"scale": float(rng.choice(GROWTHS))} for group in exact if group.scalable}
    yield Trial("widen", "widen", growing, {"transfer": "widen"})
    yield Trial("grow", "widen", growing, {"transfer": "grow"})
    kept = {group.id: {"keep": _some(group, rng)} for group in exact if rng.random() < 0.7}
    yield Trial("keep", "shrink", kept)
    yield Trial("round", "shrink", {group.id: {"scale": 0.5} for group in exact if _rounds(group)}, {"round_to": 8})
    yield Trial("half", "runs", {group.id: {"scale": 0.5} for group in free})
    yield Trial("wide", "runs", {group.id: {"scale": 1.5} for group in free}, {"transfer": "widen"})


def check_trial(model: Any, trial: Trial, *, tolerance: float = TOLERANCE) -> Trace:
    """Carry out a trial and check it. AssertionError for a wrong model; a refusal is raised as it comes."""
    result = rewrite(model, trial.plan, **trial.options)
    if trial.oracle == "runs":
        feeds = ort.random_feeds(model)
        before, after = (ort.run(each, feeds, exact=True) for each in (model, result.model))
        assert [a.shape for a in before] == [a.shape for a in after], "the outputs have other shapes"
        return result.trace
    expected = zeroed(model, result.trace) if trial.oracle == "shrink" else model
    for found in differences(expected, result.model):
        if not found.error <= tolerance:
            raise AssertionError(f"{trial.name}: '{found.output}' differs by {found.error:.2e} of its largest value")
    return result.trace


def check_all(model: Any, seed: int = 0, *, tolerance: float = TOLERANCE) -> None:
    """All trials of a seed; AssertionError or a chanc error at the first that fails."""
    for trial in random_trials(analyze(model), seed):
        check_trial(model, trial, tolerance=tolerance)


def _rounds(group: Group) -> bool:
    """Whether a multiple of 8 and of the step is at most the group's size: else it would grow."""
    return math.lcm(8, group.step) <= group.size


def _some(group: Group, rng: np.random.Generator) -> list[int]:
    """Some units of a group, as the channels that `keep` counts: places on the first producer, in order."""
    units = np.sort(rng.permutation(group.units.size)[: rng.integers(1, group.units.size + 1)])
    first = next((o for o in group.operands if o.role == "producer"), group.operands[0])
    places = np.sort(first.indices.ravel())
    return [int(n) for n in np.sort(np.searchsorted(places, first.indices[units].ravel()))]
