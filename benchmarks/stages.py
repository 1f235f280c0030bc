"""Where the time of a rewrite and an analysis goes: shares of stages, by clocks around the functions that are them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load
from chanc.ir.normalize import normalize

Stages = Mapping[str, tuple[str, ...]]
"""Stages, and the functions that are them."""
REWRITE: Stages = {
    "opening": ("chanc.ir.load:load",),
    "normal form": ("chanc.ir.normalize:normalize", "chanc.analysis.fold_weights:fold_weights"),
    "analysis": ("chanc.analysis.analyze:analyze_model",),
    "importance": ("chanc.rewriter.wanted:Wanted.choice",),
    "slicing": ("chanc.rewriter.parameters:resize_parameters",),
    "second analysis": ("chanc.rewriter.check:check_against",),
    "metadata": ("chanc.rewriter.provenance:sign", "chanc.rewriter.provenance:sign_source"),
    "saving": ("chanc.ir.save:save",),
}
"""A rewrite from file to file."""
ANALYSIS: Stages = {
    "rules": ("chanc.analysis.run:visit_model",),
    "sizes read through": ("chanc.analysis.run:_Runner._evaluated",),
    "folding": ("chanc.analysis.fold_shapes:Folding.fold", "chanc.analysis.fold_shapes:Folding.finish"),
    "solving": ("chanc.analysis.solve:solve",),
    "order of copies": ("chanc.analysis.order:ordered",),
    "grouping": ("chanc.analysis.groups:find_groups",),
}
"""An analysis of a loaded model: the rules of all nodes and what they report, then what is made of it."""
ANALYSES = 10
"""How often a model is analysed: once takes milliseconds."""


@contextlib.contextmanager
def clocks(stages: Stages) -> Iterator[dict[str, float]]:
    """Seconds of this thread in each stage, without what other stages take inside it; the functions are wrapped."""
    spent = dict.fromkeys(stages, 0.0)
    inside = [0.0]  # of each stage that is under way, the seconds of stages within

    def wrapped(stage: str, function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def clocked(*args: Any, **options: Any) -> object:
            begun = time.thread_time()
            inside.append(0.0)
            try:
                return function(*args, **options)
            finally:
                took = time.thread_time() - begun
                spent[stage] += took - inside.pop()
                inside[-1] += took

        return clocked

    with contextlib.ExitStack() as stack:
        for stage, names in stages.items():
            for owner, name, function in (use for full in names for use in uses(full)):
                stack.callback(setattr, owner, name, function)
                setattr(owner, name, wrapped(stage, function))
        yield spent


def uses(full: str) -> list[tuple[object, str, Callable[..., object]]]:
    """Where a function `module:name` or method `module:class.name` is looked up: (module or class, name, itself)."""
    module, _, path = full.partition(":")
    *outer, name = path.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    function = getattr(owner, name)
    if outer:
        return [(owner, name, function)]
    ours = [one for key, one in sorted(sys.modules.items()) if key.split(".")[0] == "chanc"]
    return [(one, key, function) for one in ours for key, value in list(vars(one).items()) if value is function]


def shares_of_rewrite(path: Path, out: Path) -> dict[str, float]:
    """The share of each stage of a rewrite from file to file, and of the rest."""
    with clocks(REWRITE) as spent:
        begun = time.thread_time()
        chanc.save(chanc.rewrite(path, scale=0.5).model, out)
        whole = time.thread_time() - begun
    return _shares(spent, whole)


def shares_of_analysis(path: Path) -> dict[str, float]:
    """The share of each stage of the analysis of a model just loaded, and of the rest."""
    whole = 0.0
    with clocks(ANALYSIS) as spent:
        for _ in range(ANALYSES):
            normal = load(path)
            normalize(normal)
            begun = time.thread_time()
            analyze_model(normal)
            whole += time.thread_time() - begun
    return _shares(spent, whole)


def _shares(spent: Mapping[str, float], whole: float) -> dict[str, float]:
    found = {stage: seconds / whole for stage, seconds in spent.items()}
    return {**found, "the rest": 1 - sum(found.values())}
