"""What a search ends with: the best model, its rivals, and one object that says where all of it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chanc.errors import RunError
from chanc.files import atomic_write
from chanc.runs import INPUT, Best, ErrorEvent, Row, RunDir, StateEvent, TrialEvent, best, clear_errors, verdict
from chanc.study.compare import Finals, Finisher, quick_rows, rivals, table, train_finals
from chanc.study.driver import Task, trial_seed
from chanc.study.space import Widths


@dataclass(frozen=True)
class Run:
    """What a search left: the folder, what came of its trials, the best widths, and the rows of the comparison.

    trial: the trial that trained the best widths, None where none did. model: best.onnx.
    """

    path: Path
    outcomes: Sequence[TrialEvent | ErrorEvent]
    widths: Widths
    trial: int | None
    rows: Sequence[Row]

    @property
    def trials(self) -> tuple[TrialEvent, ...]:
        """The trials that were trained and measured."""
        return tuple(event for event in self.outcomes if isinstance(event, TrialEvent))

    @property
    def model(self) -> Path:
        """The best model, as ONNX."""
        return self.path / "best.onnx"


def finish(task: Task, engine: Finisher, run: RunDir, finals: Finals | None, round_to: int = 1) -> Run:
    """Write best.onnx and model.py, train the rivals where asked, and sum up. Raises RunError where no trial worked.

    round_to: the rivals' widths are multiples of it.
    """
    record = run.record
    found = best(record)
    if found is None:
        errors = record.of(ErrorEvent)
        raise RunError(f"no trial of {run.path} worked; the last one: {errors[-1].reason if errors else 'not begun'}")
    _write_best(engine, run, _best_model(engine, task, run, found))
    widths = dict(found.decision.widths)
    if finals is None:
        rows = quick_rows(engine, run, found)
    else:
        rivalry = rivals(task.space, widths, finals.compare, task.seed, round_to)
        rows = train_finals(engine, run, finals, rivalry, task.seed, task.progress)
        trained = run.path / "final" / "found-0" / "model.onnx"
        if trained.exists():
            _write_best(engine, run, trained)
    title = f"after {finals.epochs} epochs from scratch, on the test set" if finals else "after the search alone"
    if not task.progress.quiet:
        task.progress.console.print(table(rows, title))
        for sentence in verdict(rows) if finals else []:
            task.progress.say(sentence)
    return Run(run.path, record.outcomes, widths, found.trial, tuple(rows))


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


def _write_best(engine: Finisher, run: RunDir, path: Path) -> None:
    """best.onnx, and the same in plain PyTorch."""
    with clear_errors(run.path):
        model = engine.load(path)
        if engine.complete(model):
            engine.save(model, run.path / "best.onnx")
        else:
            with atomic_write(run.path / "best.onnx") as temporary:
                shutil.copyfile(path, temporary)
        engine.export(model, run.path)
