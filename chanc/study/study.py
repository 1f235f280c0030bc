"""`chanc.study.study`: one call from a model and a data set to a run directory with better widths."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from chanc.errors import ModelError, RunError
from chanc.study import rundir
from chanc.study.about import environment, fingerprint
from chanc.study.budgets import Budget
from chanc.study.compare import Finals, Finisher
from chanc.study.driver import INPUT, Task, run_trials
from chanc.study.measure import measured_weights, members
from chanc.study.outcome import Run, finish, write_report
from chanc.study.presets import preset as named_preset
from chanc.study.progress import Progress
from chanc.study.rundir import RunDir
from chanc.study.settings import Settings, resolve
from chanc.study.space import SearchGroup, Space, Widths

if TYPE_CHECKING:
    from chanc.data import Dataset
    from chanc.study.torch_engine import TorchEngine


def search(
    model: Any,
    *,
    algo: str | None = None,
    data: str | os.PathLike[str] = "digits",
    trials: int | None = None,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "run",
    resume: bool = False,
    preset: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    final_epochs: int | None = None,
    final: Mapping[str, Any] | None = None,
    final_seeds: int = 1,
    compare: Sequence[str] = ("baseline", "uniform"),
    data_root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    holdout: float = 0.1,
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency: float | None = None,
    transfer: str = "svd",
    reset: bool = False,
    carry_optimizer: bool = False,
    from_weights: bool = False,
    console: Console | None = None,
    quiet: bool = True,
    command: Sequence[str] = (),
) -> Run:
    """Search for the best widths of `model`, and keep everything in the run directory `out`.

    Args:
        model: anything that `chanc.load` takes.
        algo: a search method (`chanc.study.names()`); the preset's, or greedy.
        data: a data set by name or path (`chanc.data.load`); a part of its training images is held out to judge trials.
        trials, epochs: number of trials, and epochs of each.
        out, resume: the run directory, and whether to go on with the run in it.
        preset: a name of `chanc.study.presets.PRESETS`; whatever is passed here besides wins over it.
        options: fields of the sampler. train, final: fields of `TrainOptions`, of the trials and the final trainings.
        final_epochs, final_seeds, compare: length (the preset's, or none at all), repeats and rivals of the final
            trainings.
        max_params, max_macs, max_latency: budgets (milliseconds for the latency, measured in onnxruntime).
        transfer, reset, carry_optimizer, from_weights, holdout: see `chanc.study.settings.Settings`.
        command: the command line, for the record.

    Raises:
        ModelError, DataError, RunError, MissingDependencyError: one clear line, before anything is written.
    """
    if final_epochs is None:
        final_epochs = named_preset(preset).final_epochs if preset else 0
    settings = resolve(
        algo=algo,
        data=os.fspath(data),
        preset_name=preset,
        options={**(options or {}), "trials": trials, "seed": seed},
        train={**(train or {}), "epochs": epochs},
        final={**(final or {}), **({"epochs": final_epochs} if final_epochs else {})},
        budget=Budget(max_params, max_macs, max_latency),
        limit_train=limit_train,
        limit_test=limit_test,
        holdout=holdout,
        transfer=transfer,
        reset=reset,
        carry_optimizer=carry_optimizer,
        from_weights=from_weights,
    )
    progress = Progress(settings.sampler.trials, settings.train["epochs"], console or Console(), quiet)
    _refuse_early(Path(out), resume)
    rivalry = (final_epochs, final_seeds, tuple(compare)) if final_epochs else None
    return _search(model, settings, rivalry, Path(out), resume, data_root, progress, command)


def _search(
    model: Any,
    settings: Settings,
    rivalry: tuple[int, int, tuple[str, ...]] | None,
    out: Path,
    resume: bool,
    data_root: str | os.PathLike[str] | None,
    progress: Progress,
    command: Sequence[str],
) -> Run:
    from chanc.analysis import analyze
    from chanc.ir import check, load

    loaded = load(model)
    check(loaded)
    analysis = analyze(loaded)
    space = space_of(analysis)
    settings.budget.check(space, settings.sampler.limits)
    whole = load_data(analysis, settings, data_root)
    settings = settings.suited(whole.augmentation)
    engine = make_engine(settings, whole)
    recipe = {name: value for name, value in settings.final.items() if name != "device"}
    finals = Finals(recipe, *rivalry) if rivalry else None
    decisive = settings.decisive(fingerprint(analysis))
    engine.check(analysis.model)
    _announce(progress, settings, engine)
    if resume:
        run = rundir.resume(out, decisive)
    else:
        about = {**environment(model, command), "precision": engine.precision, "final": dict(settings.final),
                 "note": settings.note}  # fmt: skip
        run = rundir.create(out, decisive, about, {INPUT: lambda path: engine.save(analysis.model, path)})
    with run.locked(), _stoppable(progress, out):
        task = make_task(settings, space, engine, members(analysis, measured_weights(analysis.model)), run, progress)
        run_trials(task, run)
        result = finish(task, run, finals)
        write_report(run, progress)
    return result


def space_of(analysis: Any) -> Space:
    """The search space of an analysed model; raises ModelError where no group may change."""
    groups = tuple(SearchGroup(one.id, one.size, one.step, one.resizable) for one in analysis.groups)
    if not any(group.resizable for group in groups):
        raise ModelError("nothing to search: no channel group of this model may change (see `chanc analyze`)")
    return Space(groups, analysis.cost_at)


def load_data(analysis: Any, settings: Settings, data_root: str | os.PathLike[str] | None) -> Dataset:
    """The data at the model's input size; raises DataError where data and model don't fit."""
    from chanc import data as datasets
    from chanc.study.torch_engine import fit_data

    limits = {"limit_train": settings.limit_train, "limit_test": settings.limit_test}
    return fit_data(analysis, datasets.load(settings.data, root=data_root, seed=settings.sampler.seed, **limits))


def make_engine(settings: Settings, whole: Dataset) -> TorchEngine:
    """The engine on its data, a part of it held out; raises RunError for an unknown training option."""
    from chanc.study.torch_engine import TorchEngine, recipe

    part = whole.split(settings.holdout, seed=settings.sampler.seed)
    trial, final = recipe(part, settings.train), recipe(whole, settings.final)
    return TorchEngine(trial, final, settings.transfer, settings.reset)


def make_task(
    settings: Settings, space: Space, engine: Finisher, groups: Mapping[str, Any], run: RunDir, progress: Progress
) -> Task:
    """The driver's task: sampler, budget and display put together."""
    sampler = settings.sampler

    def latency(widths: Widths) -> float:
        source = engine.load(run.path / INPUT)
        return engine.latency(engine.resize(source, widths, fresh=True, seed=0))

    def project(widths: Widths) -> Widths:
        return settings.budget.project(space, sampler.limits, widths, latency)

    return Task(
        sampler=sampler,
        space=space,
        engine=engine,
        members=groups,
        seed=sampler.seed,
        progress=progress,
        project=project,
        carry_optimizer=settings.carry_optimizer,
        fresh_start=not settings.from_weights,
        after_trial=lambda: write_report(run, progress),
    )


def _refuse_early(out: Path, resume: bool) -> None:
    """Refuse a bad --out before minutes are spent on reading data."""
    if not resume and (out / "config.json").exists():
        raise RunError(f"{out} holds a run already: add --resume to go on with it, or choose another --out")
    if resume and not (out / "config.json").exists():
        raise RunError(f"{out} holds no run to resume: its config.json is missing")


def _announce(progress: Progress, settings: Settings, engine: TorchEngine) -> None:
    if settings.preset:
        progress.say(f"preset {settings.preset}: {_line(settings.sampler.options())}")
        progress.say(f"  trials: {_line(settings.train)}")
        progress.say(f"  final:  {_line(settings.final)}")
    for note in (settings.note, engine.trial.data.note):
        if note:
            progress.say(f"note: {note}")


def _line(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@contextmanager
def _stoppable(progress: Progress, out: Path) -> Iterator[None]:
    """Make SIGTERM stop a search as Ctrl-C does, and say how to go on."""
    main = threading.current_thread() is threading.main_thread()
    before: Any = signal.signal(signal.SIGTERM, _interrupt) if main else None
    try:
        yield
    except KeyboardInterrupt:
        progress.say(f"stopped; everything up to the last finished trial is in {out}: "
                     f"the same command with --resume goes on from there")  # fmt: skip
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
