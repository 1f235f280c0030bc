"""What a search ends with: the best model, its rivals, and one object that says where all of it is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chanc.clock import Clock
from chanc.errors import RunError
from chanc.rewriter.provenance import begin_digest, sign, sign_source
from chanc.runs import (
    INPUT,
    Best,
    Decision,
    ErrorEvent,
    Row,
    RunDir,
    StateEvent,
    Timing,
    TrialEvent,
    best,
    clear_errors,
    read_run,
    verdict,
)
from chanc.runs.agreement import agreements, in_words
from chanc.runs.cautions import cautions
from chanc.runs.overhead import END, spent
from chanc.study.compare import Finals, Finisher, quick_rows, table, train_finals
from chanc.study.driver import Task, trial_seed
from chanc.study.methods.edges import Cnas
from chanc.study.progress import Progress
from chanc.study.rivals import TUNED, edge_rivals, rivals
from chanc.study.space import Counter, Widths


@dataclass(frozen=True)
class Run:
    """What a search left: the folder, what came of its trials, the best widths, and the rows of the comparison.

    trial: the trial that trained the best widths, None where none did. model: best.onnx. stopped: its time was over
    before it was done; resumed, it goes on.
    """

    path: Path
    outcomes: Sequence[TrialEvent | ErrorEvent]
    widths: Widths
    trial: int | None
    rows: Sequence[Row]
    stopped: bool = False

    @property
    def trials(self) -> tuple[TrialEvent, ...]:
        """The trials that were trained and measured."""
        return tuple(event for event in self.outcomes if isinstance(event, TrialEvent))

    @property
    def model(self) -> Path:
        """The best model, as ONNX."""
        return self.path / "best.onnx"


HANDED_OVER = ("best.onnx", "best.onnx.data", "model.py", "model.safetensors", "check.py", "comparison.json")
"""What a search ends with."""


def finish(task: Task, engine: Finisher, run: RunDir, finals: Finals | None, round_to: int = 1) -> Run:
    """Write best.onnx and model.py, train the rivals where asked, and sum up. Raises RunError where no trial worked.

    round_to: the rivals' widths are multiples of it.
    """
    record = run.record
    found = best(record)
    if found is None:
        errors = record.of(ErrorEvent)
        raise RunError(f"no trial of {run.path} worked; the last one: {errors[-1].reason if errors else 'not begun'}")
    clock, widths = Clock(), dict(found.decision.widths)
    with run.vouched(HANDED_OVER):
        _write_best(engine, run, _best_model(engine, task, run, found), found.decision)
        clock.lap("export")
        run.append_timing(Timing(END, clock.seconds))
        if finals is None:
            rows = quick_rows(engine, run, found)
        else:
            rivalry = _rivalry(engine, task, run, found.decision, finals, round_to)
            rows = train_finals(engine, run, finals, rivalry, task.seed, task.progress)
            for event in [event for event in run.record.finals if event.name == "found"][:1]:
                _write_best(engine, run, run.path / event.file, found.decision)
    title = f"after {finals.epochs} epochs from scratch, on the test set" if finals else "after the search alone"
    if not task.progress.quiet:
        task.progress.console.print(table(rows, title))
        for sentence in verdict(rows) if finals else []:
            task.progress.say(sentence)
    warn(run, task.progress)
    if (time := spent(read_run(run.path).timing)).training:
        task.progress.say(f"time of the search: {time.in_words()}")
    return Run(run.path, record.outcomes, widths, found.trial, tuple(rows))


def _rivalry(
    engine: Finisher, task: Task, run: RunDir, found: Decision, finals: Finals, round_to: int
) -> dict[str, list[Decision]]:
    """What was found and its rivals."""
    seed, compare, turns = task.seed, finals.compare, finals.seeds
    if not found.edges:
        widths = rivals(task.space, dict(found.widths), compare, seed, round_to, turns)
        return {name: [Decision(each) for each in of] for name, of in widths.items()}
    own = task.method if isinstance(task.method, Cnas) else None
    price = engine.price_of(engine.load(run.path / INPUT), found.edges)
    counts: dict[Counter, int] = {"params": price.params, "macs": price.macs}
    drawn = own.drawn(engine, task.space, run.path / INPUT, seed) if own is not None else None
    rivalry = edge_rivals(task.space, found, counts, drawn, compare, seed, round_to, turns)
    return {**rivalry, **({TUNED: [found] * turns} if own is not None else {})}


def stop(task: Task, engine: Finisher, run: RunDir) -> Run:
    """What there is when the time is over: best.onnx where a trial has worked, and how to go on."""
    record = run.record
    found = best(record)
    if found is not None:
        with run.vouched(HANDED_OVER):
            _write_best(engine, run, _best_model(engine, task, run, found), found.decision)
    done = f"{len(record.outcomes)} trials" + (f" and {len(record.finals)} final trainings" if record.finals else "")
    task.progress.say(f"the time is over after {done}; nothing of it is lost: {how_to_go_on(run.path)}")
    widths = dict(found.decision.widths) if found is not None else {}
    return Run(run.path, record.outcomes, widths, found.trial if found is not None else None, (), stopped=True)


def warn(run: RunDir, progress: Progress) -> None:
    """Say what a person should know before trusting the run, each line once, and keep it in summary.json."""
    record = read_run(run.path)
    lines, agreement = cautions(record), agreements(record)
    for line in lines:
        progress.say_once(f"warning: {line}")
    if agreement:
        progress.say(in_words(agreement))
    run.write("summary.json", {"warnings": lines, "rank_correlation": agreement})


def how_to_go_on(out: Path) -> str:
    """The command that goes on with a run."""
    return f"`chanc search --resume --out {shlex.quote(str(out))}` goes on from there"


def _best_model(engine: Finisher, task: Task, run: RunDir, found: Best) -> Path:
    """The model of the best decision: the method's own, its trial's, or one made from the last trial that worked."""
    own = run.record.of(StateEvent)[-1].file
    if own:
        return run.path / own
    if found.trial is not None:
        return run.model_path(found.trial)
    trials, seed = run.record.trials, trial_seed(task.seed, len(run.record.outcomes))
    source = run.model_path(trials[-1].id) if trials else run.path / INPUT
    made = run.folder("trials/best") / "model.onnx"
    engine.save(engine.resize(engine.load(source), found.decision.widths, fresh=False, seed=seed), made)
    return made


def _write_best(engine: Finisher, run: RunDir, path: Path, found: Decision) -> None:
    """best.onnx, which says that input.onnx became it, and the same in plain PyTorch."""
    with clear_errors(run.path):
        model = engine.load(path)
        engine.complete(model)
        sign(model, {**found.widths, **{name: {"keep": units} for name, units in found.keep.items()}}, found.edges)
        sign_source(model, begin_digest(run.path / INPUT))
        engine.save(model, run.path / "best.onnx")
        engine.export(model, run.path)
