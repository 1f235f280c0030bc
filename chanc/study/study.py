"""`chanc.study.study`: one call from a model and a data set to a run directory with better widths."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from chanc import runs
from chanc.clock import Clock
from chanc.files import Json
from chanc.ir import copy_model, load
from chanc.ir.sizes import Sizes, per_sample, release, sizes_of
from chanc.runs import INPUT, RunDir, Timing, read_run
from chanc.runs.environment import changes, in_words, threads_as_begun
from chanc.runs.loggers import expect, following
from chanc.runs.machine import environment
from chanc.runs.overhead import START
from chanc.study.about import contents, fingerprint, judged_on
from chanc.study.asked import remembered
from chanc.study.budgets import Budget
from chanc.study.compare import Finals
from chanc.study.crew import Workers, leave_outcome
from chanc.study.driver import SelectBy, run_method
from chanc.study.engine import MetricOf
from chanc.study.measure import measured_weights, members
from chanc.study.methods.registry import options_of
from chanc.study.outcome import Run, finish, how_to_go_on, stop, warn
from chanc.study.parts import load_data, make_engine, make_task, refuse_early, space_of
from chanc.study.pools import Pool
from chanc.study.presets import preset as named_preset
from chanc.study.progress import Progress, TimeUp
from chanc.study.rivals import RIVALS
from chanc.study.settings import Settings, given, resolve, width_grain
from chanc.study.shelf import Shelf
from chanc.training.options import InputOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis
    from chanc.data import DataSource
    from chanc.study.torch_engine import TorchEngine
    from chanc.training.task import Task


@remembered
def search(
    model: object = None,
    *,
    algo: str | None = None,
    data: DataSource = "digits",
    task: str | Task = "classification",
    trials: int | None = None,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "run",
    resume: bool = False,
    timeout: float | None = None,
    preset: str | None = None,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    train: Mapping[str, object] | None = None,
    final_epochs: int | None = None,
    final: Mapping[str, object] | None = None,
    final_seeds: int = 1,
    compare: Sequence[str] = RIVALS,
    data_root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    holdout: float = 0.1,
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency: float | None = None,
    keep: Sequence[str] = (),
    ties: Mapping[str, str] | None = None,
    at_once: int = 1,
    pool: Pool | None = None,
    trial: int | None = None,
    shelf: str | os.PathLike[str] | None = None,
    transfer: str | None = None,
    reset: bool = False,
    carry_optimizer: bool = False,
    from_weights: bool = False,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    metrics: Sequence[str] = (),
    metric_of: MetricOf | None = None,
    select_by: SelectBy = "metric",
    normalise: str | None = None,
    scale_pixels: str | None = None,
    bake: bool = False,
    console: Console | None = None,
    quiet: bool = True,
    command: Sequence[str] = (),
    log: Sequence[str] = (),
    on_change: Callable[[Path], object] | None = None,
    asked: Mapping[str, object] | None = None,
) -> Run:
    """Search for the best widths of `model`, and keep everything in the run directory `out`.

    Args:
        model: anything that `chanc.load` takes; a run that is resumed knows its own.
        algo: a search method (`chanc.study.names()`); the preset's, or greedy.
        data: what `chanc.train` takes; a part of what is for training is held out to judge trials.
        task: what networks are trained for, a name of `chanc.tasks.TASKS`, `module:Class`, or a
            `chanc.training.task.Task`; a higher score must be a better one.
        trials, epochs: number of trials, and epochs of each; a method that trains by itself has no trials, and the
            epochs may be its own.
        out, resume: the run directory, and whether to go on with the run in it: what isn't given then is what the run
            was made with, and only a higher number of trials and the final trainings may differ from that.
        timeout: seconds after which the search stops at the end of an epoch; resumed, it goes on from there.
        preset: a name of `chanc.study.presets.PRESETS`; whatever is passed here besides wins over it.
        options: fields of the method; round_to, where neither it nor a preset is given, is 8 on a GPU. train, final:
            fields of `TrainOptions` and of the task, for the trials and the final trainings.
        final_epochs, final_seeds, compare: length (the preset's, or none at all), repeats and rivals
            (`chanc.study.rivals`) of the final trainings.
        max_params, max_macs, max_latency: ceilings (milliseconds for the latency, measured in onnxruntime) of trials;
            targets of every trial are options of the methods.
        keep: patterns of channel groups that stay as they are. ties: a name by pattern; groups of one name are scaled
            by one factor (`chanc.analysis.patterns`).
        at_once, pool: how many trials a method is asked for at a time, and where these are trained side by side
            (`chanc.study.pools`); without a pool one after the other. Methods that go by the trial before ask for one.
        trial: train this one trial of a run that another process leads, and nothing else (`chanc.study.crew`).
        shelf: a folder of final trainings that several runs share (`chanc.study.shelf`): the same one is done once.
        transfer: how weights follow widths (`chanc.rewriter.TRANSFERS`); the preset's, or grow.
        reset, carry_optimizer, from_weights, holdout: see `chanc.study.settings.Settings`.
        metrics: what is measured of the layers besides `quality` (`chanc.metrics.registry.METRICS`).
        metric_of: `quality` is that of the "weights", as in a preset, or of the "change" that training made to them.
        select_by: the best trial is the one that the method's own "metric" says, or that of the lowest held-out "loss"
            or the highest "score".
        dims, shapes: sizes of open axes, as `chanc.analyze` takes them; what is written has them open.
        normalise, scale_pixels, bake: fields of `chanc.training.options.InputOptions`; what isn't given is what the
            model was made for (`chanc.training.contract`), in all trials and final trainings. bake is for best.onnx.
        command: the command line, for the record.
        log: trackers of experiments that get what happens, too (`chanc.runs.loggers.LOGGERS`).
        on_change: called with the run directory after each trial and at the end, to draw it for one; what goes wrong in
            it, and with `log`, is said and not raised.
        asked: these arguments as `chanc.study.asked` hands them on, for the record.

    Raises:
        ModelError, DataError, RunError, MissingDependencyError: one clear line, before anything is written.
    """
    grain = {} if resume else width_grain(algo, preset, options or {}, (train or {}).get("device"))
    options = {**(options or {}), **grain}
    asked = {**(asked or {}), **({"options": given(options)} if grain else {})}
    if final_epochs is None:
        final_epochs = named_preset(preset).final_epochs if preset else 0
    settings = resolve(
        algo=algo,
        data=data,
        task=task,
        preset_name=preset,
        options={**options, **given({"trials": trials})},
        seed=seed,
        train={**(train or {}), **given({"epochs": epochs})},
        final={**(final or {}), **({"epochs": final_epochs} if final_epochs else {})},
        budget=Budget(max_params, max_macs, max_latency),
        keep=tuple(keep),
        ties=dict(ties or {}),
        at_once=at_once,
        limit_train=limit_train,
        limit_test=limit_test,
        holdout=holdout,
        transfer=transfer,
        reset=reset,
        carry_optimizer=carry_optimizer,
        from_weights=from_weights,
        metrics=metrics,
        metric_of=metric_of,
        select_by=select_by,
        input=InputOptions(normalise, scale_pixels, bake),
    )
    deadline = None if timeout is None else time.monotonic() + timeout
    progress = Progress(*settings.length, console or Console(), quiet, deadline)
    if grain:
        progress.say(f"note: widths are multiples of {grain['round_to']}, as suits a GPU; --round-to says otherwise")
    expect(log)
    refuse_early(Path(out), resume, settings)
    rivalry = (final_epochs, final_seeds, tuple(compare)) if final_epochs else None
    source = model if model is not None else Path(out) / INPUT
    settings = dataclasses.replace(settings, sizes=_sizes(source, dims, shapes))
    own = (asked, pool, trial, Path(shelf) if shelf is not None else None)
    with threads_as_begun(Path(out)) if resume else nullcontext(), following(log, Path(out)) as follow:
        changed = _told({"report": on_change, "log": lambda _: follow()}, Path(out), progress)
        return _search(model, settings, rivalry, Path(out), resume, data_root, progress, command, changed, *own)


def train_one(out: Path, trial: int) -> None:
    """One trial of a run that another process leads: its outcome is left in its folder."""
    search(out=out, resume=True, trial=trial)


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
    asked: Mapping[str, object],
    pool: Pool | None,
    trial: int | None,
    shelf: Path | None,
) -> Run:
    from chanc.analysis import analyze
    from chanc.ir import check

    clock = Clock()
    loaded = load(model if model is not None else out / INPUT)
    check(loaded)
    analysis = analyze(loaded, dims=settings.sizes, fold=False)
    space = space_of(analysis, settings.keep, settings.ties)
    settings.budget.check(space, settings.limits)
    settings.target.check(space, settings.limits)
    clock.lap("analyse")
    whole, told = load_data(analysis, settings, data_root)
    clock.lap("data")
    settings = settings.suited(whole.augmentation)
    engine = make_engine(settings, whole)
    recipe = {name: value for name, value in settings.final.items() if name != "device"}
    graph = fingerprint(analysis) if model is not None else _graph(out)
    apart = contents(whole, settings.data)
    judged = {**settings.judged(graph), **apart, "data_root": str(data_root or "")}
    kept = Shelf(shelf, judged) if shelf is not None else None
    finals = Finals(recipe, *rivalry, kept) if rivalry else None
    decisive = {**settings.decisive(graph), **apart}
    analysis.model.metadata_props.update(whole.metadata())
    engine.check(analysis.model)
    clock.lap("codegen")
    _announce(progress, settings, engine, [told, *engine.remarks(analysis.model)])
    groups = members(analysis, measured_weights(analysis.model))
    if trial is not None:
        run = RunDir(out, list(read_run(out).log))
        leave_outcome(make_task(settings, space, engine, groups, run, progress, changed), run, trial)
        return Run(out, (), {}, None, ())
    about = {**environment(model, command), "precision": engine.precision, "final": dict(settings.final),
             "note": settings.note, "widths": space.widths,
             **judged_on(engine.trial.data, settings.words["task"])}  # fmt: skip
    if resume:
        run = runs.resume(out, decisive, asked, about)
        if differs := in_words(changes(read_run(out).environment, about)):
            progress.say(f"note: {differs}")
    else:
        run = runs.create(out, decisive, about, {INPUT: lambda path: engine.save(_opened(analysis), path)}, asked)
    with run.owned(), _stoppable(progress, out):
        warn(run, progress)
        run.append_timing(Timing(START, clock.seconds))
        task = make_task(settings, space, engine, groups, run, progress, changed)
        task = dataclasses.replace(task, crew=Workers(pool, train_one) if pool is not None else None)
        try:
            run_method(task, run)
            result = finish(task, engine, run, finals, settings.limits.round_to)
        except TimeUp:
            result = stop(task, engine, run)
        changed()
    return result


def _sizes(model: object, dims: Sizes | None, shapes: Mapping[str, Sequence[int]] | None) -> Sizes:
    """The sizes of open axes, the batch apart."""
    if not dims and not shapes:
        return {}
    loaded = load(model)
    return per_sample(loaded, sizes_of(loaded, dims, shapes))


def _graph(out: Path) -> dict[str, Json]:
    """What tells the model of a run from another one."""
    graph = read_run(out).settings.get("graph")
    return graph if isinstance(graph, dict) else {}


def _opened(analysis: Analysis) -> ir.Model:
    """The analysed model with its axes open, whatever sizes they were given."""
    model = copy_model(analysis.model)
    release(model, analysis.opened)
    return model


def _told(
    hooks: Mapping[str, Callable[[Path], object] | None], out: Path, progress: Progress
) -> Callable[[], None]:
    """What to call when the run has changed; no picture is worth a search: what goes wrong is one line of text."""

    def changed() -> None:
        for what, hook in hooks.items():
            try:
                if hook is not None:
                    hook(out)
            except Exception as error:
                reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
                progress.say_once(f"no {what}: {reason}")

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
        progress.say(f"stopped; everything up to the last finished trial is in {out}: {how_to_go_on(out)}")
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
