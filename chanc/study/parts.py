"""What a search is put together from: the space of widths, data, the engine that trains, and the driver's task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chanc.errors import ModelError
from chanc.runs import INPUT, RunDir
from chanc.runs.record import read_config
from chanc.runs.rundir import refuse_empty, refuse_others, refuse_taken
from chanc.study.compare import Finisher
from chanc.study.driver import Task
from chanc.study.measure import Member
from chanc.study.prices import prices
from chanc.study.progress import Progress
from chanc.study.settings import Settings
from chanc.study.space import SearchGroup, Space, Widths

if TYPE_CHECKING:
    from chanc.analysis import Analysis
    from chanc.data import Data
    from chanc.study.torch_engine import TorchEngine


def space_of(analysis: Analysis, keep: Sequence[str] = (), ties: Mapping[str, str] | None = None) -> Space:
    """The search space of an analysed model.

    keep: patterns of groups that stay as they are. ties: a name by pattern; groups of one name are scaled by one
    factor. Raises ModelError where no group may change, PlanError for a pattern of nothing.
    """
    from chanc.analysis.patterns import matching

    kept = {group.id for pattern in keep for group in matching(analysis, pattern)}
    tied = {group.id: name for pattern, name in (ties or {}).items() for group in matching(analysis, pattern)}
    groups = tuple(
        SearchGroup(one.id, one.size, one.step, one.resizable and one.id not in kept, len(one.producers) == 1)
        for one in analysis.groups
    )
    if not any(group.resizable for group in groups):
        raise ModelError("nothing to search: no channel group of this model may change (see `chanc analyze`)")
    return Space(groups, prices(analysis), tied)


def load_data(analysis: Analysis, settings: Settings, data_root: str | os.PathLike[str] | None) -> tuple[Data, str]:
    """The data as the task gives it to the model, and a line on that; raises DataError where the two don't fit."""
    from chanc.study.torch_engine import task_of
    from chanc.tasks import fed

    found = fed(
        analysis.model, settings.data, task_of(settings.task, settings.train), settings.input, root=data_root,
        limit_train=settings.limit_train, limit_test=settings.limit_test, sizes=settings.sizes,
        device=str(settings.train.get("device", "auto")), seed=settings.seed,
    )  # fmt: skip
    return found.data, found.told


def make_engine(settings: Settings, whole: Data) -> TorchEngine:
    """The engine on its data, a part of it held out; raises RunError for an unknown training option."""
    from chanc.study.torch_engine import TorchEngine, recipe

    part = whole.split(settings.holdout, seed=settings.seed)
    trial, final = recipe(part, settings.task, settings.train), recipe(whole, settings.task, settings.final)
    measured, sizes, bake = ("quality", *settings.metrics), settings.sizes, settings.input.bake
    return TorchEngine(trial, final, settings.transfer, settings.reset, measured, settings.metric_of, sizes, bake)


def make_task(
    settings: Settings,
    space: Space,
    engine: Finisher,
    groups: Mapping[str, Sequence[Member]],
    run: RunDir,
    progress: Progress,
    changed: Callable[[], None],
) -> Task:
    """The driver's task: method, budget and display put together."""

    timed: dict[tuple[int, ...], float] = {}

    def latency(widths: Widths) -> float:
        key = tuple(widths[group.id] for group in space.resizable)
        if key not in timed:
            source = engine.load(run.path / INPUT)
            timed[key] = engine.latency(engine.resize(source, widths, fresh=True, seed=0))
        return timed[key]

    def project(widths: Widths) -> Widths:
        bend = getattr(settings.method, "bends", True)
        aimed = settings.target.project(space, settings.limits, widths, latency, bend=bend)
        return settings.budget.project(space, settings.limits, aimed, latency)

    return Task(
        name=settings.method.name,
        method=settings.method,
        space=space,
        engine=engine,
        members=groups,
        seed=settings.seed,
        progress=progress,
        project=project,
        carry_optimizer=settings.carry_optimizer,
        fresh_start=not settings.from_weights,
        at_once=settings.at_once,
        select_by=settings.select_by,
        after_trial=changed,
    )


def refuse_early(out: Path, resume: bool, settings: Settings) -> None:
    """Refuse a bad --out, or a run of another kind, before minutes are spent on reading data."""
    if not resume:
        refuse_taken(out)
        return
    refuse_empty(out)
    config, known = read_config(out), settings.decisive({})
    before = config.get("settings")
    told = {**(before if isinstance(before, dict) else {}), **{name: known[name] for name in ("algo", "data", "task")}}
    refuse_others(out, config, told)
