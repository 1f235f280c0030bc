"""`chanc.study.study`: one call from a model and a data set to a run directory with better widths."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from chanc import runs
from chanc.errors import ModelError
from chanc.ir import copy_model, load
from chanc.ir.sizes import Sizes, per_sample, release, sizes_of
from chanc.runs import INPUT, RunDir
from chanc.runs.rundir import refuse_empty, refuse_taken
from chanc.study.about import environment, fingerprint
from chanc.study.budgets import Budget
from chanc.study.compare import Finals, Finisher
from chanc.study.driver import Task, run_method
from chanc.study.measure import Member, measured_weights, members
from chanc.study.methods.registry import options_of
from chanc.study.outcome import Run, finish
from chanc.study.presets import preset as named_preset
from chanc.study.progress import Progress
from chanc.study.settings import Settings, resolve
from chanc.study.space import SearchGroup, Space, Widths
from chanc.training.options import InputOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis
    from chanc.data import Dataset
    from chanc.study.torch_engine import TorchEngine


def search(
    model: object,
    *,
    algo: str | None = None,
    data: str | os.PathLike[str] = "digits",
    task: str = "classification",
    trials: int | None = None,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "run",
    resume: bool = False,
    preset: str | None = None,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    train: Mapping[str, object] | None = None,
    final_epochs: int | None = None,
    final: Mapping[str, object] | None = None,
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
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    metrics: Sequence[str] = (),
    normalise: str | None = None,
    scale_pixels: str | None = None,
    bake: bool = False,
    console: Console | None = None,
    quiet: bool = True,
    command: Sequence[str] = (),
    on_change: Callable[[Path], object] | None = None,
) -> Run:
    """Search for the best widths of `model`, and keep everything in the run directory `out`.

    Args:
        model: anything that `chanc.load` takes.
        algo: a search method (`chanc.study.names()`); the preset's, or greedy.
        data: a data set by name or path (`chanc.data.load`); a part of its training images is held out to judge trials.
        task: what networks are trained for (`chanc.tasks.TASKS`); a higher score must be a better one.
        trials, epochs: number of trials, and epochs of each; a method that trains by itself has no trials, and the
            epochs may be its own.
        out, resume: the run directory, and whether to go on with the run in it.
        preset: a name of `chanc.study.presets.PRESETS`; whatever is passed here besides wins over it.
        options: fields of the method. train, final: fields of `TrainOptions` and of the task, for the trials and the
            final trainings.
        final_epochs, final_seeds, compare: length (the preset's, or none at all), repeats and rivals of the final
            trainings.
        max_params, max_macs, max_latency: budgets (milliseconds for the latency, measured in onnxruntime) of trials.
        transfer, reset, carry_optimizer, from_weights, holdout: see `chanc.study.settings.Settings`.
        metrics: what is measured of the layers besides `quality` (`chanc.metrics.registry.METRICS`).
        dims, shapes: sizes of open axes, as `chanc.analyze` takes them; what is written has them open.
        normalise, scale_pixels, bake: fields of `chanc.training.options.InputOptions`; what isn't given is what the
            model was made for (`chanc.training.contract`), in all trials and final trainings. bake is for best.onnx.
        command: the command line, for the record.
        on_change: called with the run directory after each trial and at the end, to draw it for one; what goes wrong in
            it is said and not raised.

    Raises:
        ModelError, DataError, RunError, MissingDependencyError: one clear line, before anything is written.
    """
    if final_epochs is None:
        final_epochs = named_preset(preset).final_epochs if preset else 0
    settings = resolve(
        algo=algo,
        data=os.fspath(data),
        task=task,
        preset_name=preset,
        options={**(options or {}), "trials": trials},
        seed=seed,
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
        metrics=metrics,
        input=InputOptions(normalise, scale_pixels, bake),
    )
    progress = Progress(*settings.length, console or Console(), quiet)
    _refuse_early(Path(out), resume)
    rivalry = (final_epochs, final_seeds, tuple(compare)) if final_epochs else None
    changed = _told(on_change, Path(out), progress)
    settings = dataclasses.replace(settings, sizes=_sizes(model, dims, shapes))
    return _search(model, settings, rivalry, Path(out), resume, data_root, progress, command, changed)


def _search(
    model: object,
    settings: Settings,
    rivalry: tuple[int, int, tuple[str, ...]] | None,
    out: Path,
    resume: bool,
    data_root: str | os.PathLike[str] | None,
    progress: Progress,
    command: Sequence[str],
    changed: Callable[[], None],
) -> Run:
    from chanc.analysis import analyze
    from chanc.ir import check

    loaded = load(model)
    check(loaded)
    analysis = analyze(loaded, dims=settings.sizes, fold=False)
    space = space_of(analysis)
    settings.budget.check(space, settings.limits)
    whole, told = load_data(analysis, settings, data_root)
    settings = settings.suited(whole.augmentation)
    engine = make_engine(settings, whole)
    recipe = {name: value for name, value in settings.final.items() if name != "device"}
    finals = Finals(recipe, *rivalry) if rivalry else None
    decisive = {**settings.decisive(fingerprint(analysis)), **whole.input.metadata()}
    analysis.model.metadata_props.update(whole.input.metadata())
    engine.check(analysis.model)
    _announce(progress, settings, engine, [told, engine.untrained(analysis.model)])
    if resume:
        run = runs.resume(out, decisive)
    else:
        about = {**environment(model, command), "precision": engine.precision, "final": dict(settings.final),
                 "note": settings.note}  # fmt: skip
        run = runs.create(out, decisive, about, {INPUT: lambda path: engine.save(_opened(analysis), path)})
    with run.locked(), _stoppable(progress, out):
        groups = members(analysis, measured_weights(analysis.model))
        task = make_task(settings, space, engine, groups, run, progress, changed)
        run_method(task, run)
        result = finish(task, engine, run, finals, settings.limits.round_to)
        changed()
    return result


def _sizes(model: object, dims: Sizes | None, shapes: Mapping[str, Sequence[int]] | None) -> Sizes:
    """The sizes of open axes, the batch apart."""
    if not dims and not shapes:
        return {}
    loaded = load(model)
    return per_sample(loaded, sizes_of(loaded, dims, shapes))


def _opened(analysis: Analysis) -> ir.Model:
    """The analysed model with its axes open, whatever sizes they were given."""
    model = copy_model(analysis.model)
    release(model, analysis.opened)
    return model


def space_of(analysis: Analysis) -> Space:
    """The search space of an analysed model; raises ModelError where no group may change."""
    groups = tuple(SearchGroup(one.id, one.size, one.step, one.resizable) for one in analysis.groups)
    if not any(group.resizable for group in groups):
        raise ModelError("nothing to search: no channel group of this model may change (see `chanc analyze`)")
    return Space(groups, analysis.cost_at)


def load_data(analysis: Analysis, settings: Settings, data_root: str | os.PathLike[str] | None) -> tuple[Dataset, str]:
    """The data as the task gives it to the model, and a line on that; raises DataError where the two don't fit."""
    from chanc import data as datasets
    from chanc.study.torch_engine import task_of
    from chanc.training.contract import settle

    limits = {"limit_train": settings.limit_train, "limit_test": settings.limit_test}
    whole = datasets.load(settings.data, root=data_root, seed=settings.seed, **limits)
    task, device = task_of(settings.task, settings.train), str(settings.train.get("device", "auto"))
    return settle(analysis.model, task.fit(analysis.model, whole), task, settings.input, device)


def make_engine(settings: Settings, whole: Dataset) -> TorchEngine:
    """The engine on its data, a part of it held out; raises RunError for an unknown training option."""
    from chanc.study.torch_engine import TorchEngine, recipe

    part = whole.split(settings.holdout, seed=settings.seed)
    trial, final = recipe(part, settings.task, settings.train), recipe(whole, settings.task, settings.final)
    measured, sizes, bake = ("quality", *settings.metrics), settings.sizes, settings.input.bake
    return TorchEngine(trial, final, settings.transfer, settings.reset, measured, sizes, bake)


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

    def latency(widths: Widths) -> float:
        source = engine.load(run.path / INPUT)
        return engine.latency(engine.resize(source, widths, fresh=True, seed=0))

    def project(widths: Widths) -> Widths:
        return settings.budget.project(space, settings.limits, widths, latency)

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
        after_trial=changed,
    )


def _refuse_early(out: Path, resume: bool) -> None:
    """Refuse a bad --out before minutes are spent on reading data."""
    refuse = refuse_empty if resume else refuse_taken
    refuse(out)


def _told(on_change: Callable[[Path], object] | None, out: Path, progress: Progress) -> Callable[[], None]:
    """What to call when the run has changed; no picture is worth a search: what goes wrong is one line of text."""

    def changed() -> None:
        try:
            if on_change is not None:
                on_change(out)
        except Exception as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            progress.say_once(f"no report: {reason}")

    return changed


def _announce(progress: Progress, settings: Settings, engine: TorchEngine, told: Sequence[str]) -> None:
    if settings.preset:
        progress.say(f"preset {settings.preset}: {_line(options_of(settings.method))}")
        progress.say(f"  trials: {_line(settings.train)}")
        progress.say(f"  final:  {_line(settings.final)}")
    for note in (settings.note, engine.trial.data.note, *told):
        if note:
            progress.say(f"note: {note}")


def _line(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@contextmanager
def _stoppable(progress: Progress, out: Path) -> Iterator[None]:
    """Make SIGTERM stop a search as Ctrl-C does, and say how to go on."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if main else None
    try:
        yield
    except KeyboardInterrupt:
        progress.say(f"stopped; everything up to the last finished trial is in {out}: "
                     f"the same command with --resume goes on from there")  # fmt: skip
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
