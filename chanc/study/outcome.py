"""What a search ends with: the best model, its rivals, the report, and one object that says where all of it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chanc.errors import RunError
from chanc.files import atomic_write
from chanc.study import rundir
from chanc.study.compare import Finals, quick_rows, rivals, table, train_finals, verdict
from chanc.study.driver import Task, best_widths, trial_seed
from chanc.study.progress import Progress
from chanc.study.rundir import RunDir
from chanc.study.space import Widths


@dataclass(frozen=True)
class Run:
    """What a search left: the folder, the lines of its log, the best widths, and the rows of the comparison.

    trial: the trial that trained the best widths, None where none did. model: best.onnx. rows: see
    `chanc.study.compare`.
    """

    path: Path
    trials: Sequence[Mapping[str, Any]]
    widths: Widths
    trial: int | None
    rows: Sequence[Mapping[str, Any]]

    @property
    def model(self) -> Path:
        """The best model, as ONNX."""
        return self.path / "best.onnx"


def finish(task: Task, run: RunDir, finals: Finals | None) -> Run:
    """Write best.onnx and model.py, train the rivals where asked, and sum up. Raises RunError where no trial worked."""
    engine: Any = task.engine
    found = best_widths(task, run)
    if found is None:
        raise RunError(f"no trial of {run.path} worked; the last one: {run.trials[-1].get('failed', 'skipped')}")
    widths, trial = found
    _write_best_model(engine, task, run, widths, trial)
    if finals is None:
        rows = quick_rows(engine, run, widths, trial)
    else:
        rivalry = rivals(task.space, widths, finals.compare, task.seed, task.sampler.round_to)
        rows = train_finals(engine, run, finals, rivalry, task.seed, task.progress)
        trained = run.path / "final" / "found-0" / "model.onnx"
        if trained.exists():
            _write_best(engine, run, trained)
    title = f"after {finals.epochs} epochs from scratch, on the test set" if finals else "after the search alone"
    if not task.progress.quiet:
        task.progress.console.print(table(rows, title))
        for sentence in verdict(rows) if finals else []:
            task.progress.say(sentence)
    return Run(run.path, tuple(run.trials), widths, trial, tuple(rows))


def _write_best_model(engine: Any, task: Task, run: RunDir, widths: Widths, trial: int | None) -> None:
    """The best trial's model; widths that no trial trained are made from the last good one."""
    if trial is None:
        good = [line["trial"] for line in run.trials if "failed" not in line and "skipped" not in line]
        last, seed = engine.load(run.model_path(good[-1])), trial_seed(task.seed, len(run.trials))
        made = run.folder("trials/best") / "model.onnx"
        engine.save(engine.resize(last, widths, fresh=False, seed=seed), made)
    _write_best(engine, run, made if trial is None else run.model_path(trial))


def _write_best(engine: Any, run: RunDir, path: Path) -> None:
    """best.onnx, and the same in plain PyTorch."""
    with rundir.clear_errors(run.path):
        with atomic_write(run.path / "best.onnx") as temporary:
            shutil.copyfile(path, temporary)
        engine.export(engine.load(path), run.path)


def write_report(run: RunDir, progress: Progress) -> None:
    """Draw report.html; whatever goes wrong there is one line of text, for no picture is worth a search."""
    try:
        from chanc.report import write_report as draw

        draw(run.path)
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        progress.say_once(f"no report: {reason}")
