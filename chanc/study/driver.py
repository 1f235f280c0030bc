"""The loop of a search: widths -> rewrite -> train -> measure -> log -> the sampler's next widths.

Everything that decides a trial comes from the run directory (the last lines and the last trained model) and from seeds
made of (seed, trial), so that a search that was killed and resumed writes the same log as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chanc.errors import IllegalMove, PlanError, TrialError
from chanc.study.engine import Engine, Trained
from chanc.study.measure import Member, group_epoch, group_metric
from chanc.study.progress import Progress
from chanc.study.rundir import RunDir
from chanc.study.sampler import Measurement, Proposal, Sampler, State
from chanc.study.space import Price, Space, Widths

INPUT = "input.onnx"


@dataclass(frozen=True)
class Task:
    """What a search works with.

    members: the measured conv axes of each group. project: brings proposed widths under the budget. carry_optimizer:
    hand the optimizer's learning rates on from trial to trial. fresh_start: draw the weights of the first trial anew.
    """

    sampler: Sampler
    space: Space
    engine: Engine
    members: Mapping[str, Sequence[Member]]
    seed: int
    progress: Progress
    project: Callable[[Widths], Widths] = dict
    carry_optimizer: bool = False
    fresh_start: bool = True
    after_trial: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Position:
    """Where a search stands: the trial to come, its widths (None: converged), and the last trial that worked."""

    trial: int
    widths: Widths | None
    state: State
    good: int | None = None
    good_widths: Widths | None = None


@dataclass
class Clock:
    """Seconds by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """Book the time since the last lap under `name`."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 4)
        self._last = now

    def move(self, source: str, target: str, seconds: float) -> None:
        """Book a part of one lap under another name."""
        self.seconds[source] = round(self.seconds[source] - seconds, 4)
        self.seconds[target] = round(self.seconds.get(target, 0.0) + seconds, 4)


def run_trials(task: Task, run: RunDir) -> Position:
    """Run all trials that are still to come, and say where the search stands afterwards."""
    at = position(task, run)
    with task.progress.shown(done=at.trial):
        while at.trial < task.sampler.trials and at.widths is not None:
            clock = Clock()
            line = _trial(task, run, at, at.widths, clock)
            run.append(line)
            clock.lap("write")
            write_best(task, run)
            task.after_trial()
            clock.lap("report")
            run.append_timing({"trial": at.trial, "seconds": clock.seconds})
            at = position(task, run)
    return at


def position(task: Task, run: RunDir) -> Position:
    """Read off the log where the search stands."""
    first, state = task.sampler.start(task.space)
    if not run.trials:
        return Position(0, task.project(first), state)
    last = run.trials[-1]
    worked = [line for line in run.trials if "failed" not in line and "skipped" not in line]
    good = worked[-1] if worked else None
    return Position(
        trial=len(run.trials),
        widths=last["next"],
        state=last["state"],
        good=good["trial"] if good else None,
        good_widths=good["widths"] if good else None,
    )


def trial_seed(seed: int, trial: int) -> int:
    """The seed of everything random in one trial."""
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])


def best_widths(task: Task, run: RunDir) -> tuple[Widths, int | None] | None:
    """The widths that the search found, and the trial that trained them (None: no trial did); None before any trial."""
    worked = [line for line in run.trials if "failed" not in line and "skipped" not in line]
    if not worked:
        return None
    widths = task.project(task.sampler.best(run.trials[-1]["state"]))
    trained = [line["trial"] for line in worked if line["widths"] == widths]
    return widths, trained[-1] if trained else None


def write_best(task: Task, run: RunDir) -> None:
    """Write best.json: the best widths so far."""
    found = best_widths(task, run)
    if found is not None:
        widths, trial = found
        run.write("best.json", {"trial": trial, "widths": widths})


def _trial(task: Task, run: RunDir, at: Position, widths: Widths, clock: Clock) -> dict[str, Any]:
    """One trial, as its line of the log. What a trial may fail by becomes part of the line."""
    try:
        model, price = _resized(task, run, at, widths)
        clock.lap("rewrite")
        task.progress.trial(at.trial, price.params, price.macs)
        trained = _trained(task, run, at, model)
        clock.lap("train")
        clock.move("train", "measure", trained.measuring_s)
        task.engine.save(trained.model, run.model_path(at.trial))
        clock.lap("save")
    except (IllegalMove, PlanError) as error:
        return _unmeasured(task, at, widths, "skipped", error)
    except TrialError as error:
        return _unmeasured(task, at, widths, "failed", error)
    return _measured(task, at, widths, price, trained)


def _resized(task: Task, run: RunDir, at: Position, widths: Widths) -> tuple[Any, Price]:
    """The model of this trial, made from the last one that worked; models always come from disk, so that a resumed
    search sees the same bits."""
    carried = at.good is not None and task.sampler.weights == "carry"
    source = run.model_path(at.good) if carried and at.good is not None else run.path / INPUT
    model = task.engine.resize(
        task.engine.load(source), widths, fresh=_fresh(task, at), seed=trial_seed(task.seed, at.trial)
    )
    return model, task.engine.price(model)


def _fresh(task: Task, at: Position) -> bool:
    return task.sampler.weights == "fresh" or (at.good is None and task.fresh_start)


def _trained(task: Task, run: RunDir, at: Position, model: Any) -> Trained:
    before = run.optimizer_path(at.good) if task.carry_optimizer and at.good is not None else None
    run.trial_dir(at.trial)
    return task.engine.train(
        model,
        fresh=_fresh(task, at),
        seed=trial_seed(task.seed, at.trial),
        carry_from=before,
        carry_to=run.optimizer_path(at.trial) if task.carry_optimizer else None,
        watch=task.progress,
    )


def _measured(task: Task, at: Position, widths: Widths, price: Price, trained: Trained) -> dict[str, Any]:
    layers = [epoch.get("metrics", {}) for epoch in trained.epochs]
    metric = group_metric(task.members, layers)
    seen = Measurement(
        trial=at.trial,
        widths=widths,
        group_metric=metric,
        epochs=tuple(group_epoch(task.members, epoch) for epoch in layers),
        top1=trained.top1,
        params=price.params,
        macs=price.macs,
    )
    proposal = task.sampler.propose(task.space, at.state, seen)
    return {
        "trial": at.trial,
        "widths": widths,
        "next": _next(task, at, proposal),
        "params": price.params,
        "macs": price.macs,
        "top1": trained.top1,
        "loss": trained.loss,
        "epochs": trained.epochs,
        "group_metric": metric,
        "momentum": proposal.momentum,
        "cumulative": proposal.cumulative,
        "state": proposal.state,
    }


def _next(task: Task, at: Position, proposal: Proposal) -> Widths | None:
    """The widths of the next trial under the budget; None after the last one."""
    if proposal.widths is None or at.trial + 1 >= task.sampler.trials:
        return None
    return task.project(proposal.widths)


def _unmeasured(task: Task, at: Position, widths: Widths, kind: str, error: Exception) -> dict[str, Any]:
    """The line of a trial that came to nothing; the sampler's state stays as it was."""
    reason = " ".join(str(error).split())
    task.progress.say(f"trial {at.trial + 1} {kind}: {reason}")
    after = None
    if at.trial + 1 < task.sampler.trials:
        after = task.project(task.sampler.after_failure(task.space, widths, at.good_widths))
    return {"trial": at.trial, "widths": widths, "next": after, kind: reason, "state": at.state}
