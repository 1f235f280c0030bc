"""The loop of a search: a method's next decision -> rewrite -> train -> measure -> log -> the method again.

Everything that decides a trial comes from the run directory (its events and its trained models) and from seeds made of
(seed, trial), so that a search that was killed and resumed writes the same events as one that was not. A method is
always told what the log says, never what the process remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnx_ir as ir

from chanc import plugins
from chanc.clock import Clock
from chanc.errors import IllegalMove, PlanError, RunError, TrialError
from chanc.rewriter.importance import Gathered
from chanc.runs import (
    INPUT,
    Best,
    Decision,
    ErrorEvent,
    Event,
    RunDir,
    StartEvent,
    State,
    StateEvent,
    Timing,
    Trial,
    TrialEvent,
    clear_errors,
)
from chanc.runs.events import Metrics
from chanc.study.engine import Engine, Trained
from chanc.study.measure import Member, degenerate, group_epoch, group_metric
from chanc.study.methods.protocol import Context, Measurement, TrialMethod, WholeMethod
from chanc.study.progress import Progress
from chanc.study.space import Price, Space, Widths

SelectBy = Literal["metric", "loss", "score"]

Outcome = TrialEvent | ErrorEvent


class Crew(Protocol):
    """Others who train trials side by side."""

    def __call__(self, run: RunDir, trials: Sequence[Trial]) -> Iterator[tuple[Outcome, Timing]]:
        """The outcome of each trial, in their order, and what it took. Raises RunError where one is lost."""


@dataclass(frozen=True)
class Task:
    """What a search works with.

    members: the measured conv axes of each group. project: brings proposed widths under the budget. carry_optimizer:
    hand the optimizer's learning rates on from trial to trial. fresh_start: draw the weights of a trial without a
    parent anew. at_once: how many trials the method is asked for at a time, which are trained one after the other, or
    by a crew. select_by: which trial is the best, the one that the method says or that of the best held-out loss or
    score among those that were trained longest. after_trial: called whenever the log tells something new.
    """

    name: str
    method: TrialMethod | WholeMethod
    space: Space
    engine: Engine
    members: Mapping[str, Sequence[Member]]
    seed: int
    progress: Progress
    project: Callable[[Widths], Widths] = dict
    carry_optimizer: bool = False
    fresh_start: bool = True
    at_once: int = 1
    crew: Crew | None = None
    select_by: SelectBy = "metric"
    after_trial: Callable[[], None] = lambda: None


def run_method(task: Task, run: RunDir) -> None:
    """Run all that is still to come of a search. A trial that fails is an event; a whole method's error is raised."""
    if not run.record.of(StartEvent):
        run.append(StartEvent(task.name, file=INPUT))
    with task.progress.shown(done=len(run.record.outcomes)):
        if isinstance(task.method, WholeMethod):
            _run_whole(task, task.method, run)
        else:
            _run_trials(task, task.method, run)


def trial_seed(seed: int, trial: int) -> int:
    """The seed of everything random in one trial."""
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])


def _run_whole(task: Task, method: WholeMethod, run: RunDir) -> None:
    price = task.engine.price(task.engine.load(run.path / INPUT))
    task.progress.trial(0, price.params, price.macs, task.name)
    context = Context(run.record, task.space, task.engine, task.seed, task.progress, run.folder, task.fresh_start,
                      task.progress.say, run.append_timing)  # fmt: skip
    for event in _events(task, method, context):
        run.append(event)
        task.after_trial()


def _events(task: Task, method: WholeMethod, context: Context) -> Iterator[Event]:
    with plugins.guarded(f"the {task.name} search", RunError):
        yield from method.run(context)


def _run_trials(task: Task, method: TrialMethod, run: RunDir) -> None:
    out = advance(task, method, run)
    while out:
        task.progress.in_time()
        if task.crew is not None:
            for ended, timing in task.crew(run, out):
                run.append(ended)
                run.append_timing(timing)
            out = advance(task, method, run)
            task.after_trial()
            continue
        clock, trial = Clock(), out[0].id
        run.append(outcome(task, run, out[0], clock))
        out = advance(task, method, run)
        clock.lap("write")
        task.after_trial()
        clock.lap("report")
        run.append_timing(Timing(str(trial), clock.seconds))


def advance(task: Task, method: TrialMethod, run: RunDir) -> list[Trial]:
    """The trials that are out; once all have ended, tell the method of them and ask for the next ones.

    A trial of long ago is out again where its event is void; one that is asked for again, because a state is void, has
    ended already. An empty list ends the search.
    """
    while not (out := _out(run)):
        with plugins.guarded(f"the {task.name} search", RunError):
            if not _asked(task, method, run):
                break
    return out


def _out(run: RunDir) -> list[Trial]:
    """The trials that were asked for and have not ended."""
    ended, asked = _ended(run), [trial for state in run.record.of(StateEvent) for trial in state.asked]
    for trial in asked:
        if trial.id in ended and ended[trial.id].decision != trial.decision:
            raise RunError(f"{run.path} is damaged: trial {trial.id + 1} has other widths than it was asked for with")
    return [trial for trial in asked if trial.id not in ended]


def _ended(run: RunDir) -> dict[int, Outcome]:
    return {event.id: event for event in run.record.outcomes}


def _asked(task: Task, method: TrialMethod, run: RunDir) -> list[Trial]:
    """Tell the method of all that it asked for, and log what it asks for next."""
    states, ended = run.record.of(StateEvent), _ended(run)
    last = states[-1] if states else None
    state = last.state if last is not None else method.begin(task.space)
    figures: dict[str, Metrics] = {}
    for trial in last.asked if last is not None else ():
        told = method.tell(task.space, state, trial, _measurement(task, run, ended[trial.id]))
        state = told.state
        figures |= {str(trial.id): told.figures} if told.figures else {}
    asked, state = method.ask(task.space, state, task.at_once)
    if not asked and last is not None and not last.asked:
        return []
    out = [replace(trial, decision=_affordable(task, trial.decision)) for trial in asked]
    run.append(StateEvent(state, tuple(out), _best(task, run, method, state), figures))
    return out


def _affordable(task: Task, decision: Decision) -> Decision:
    """The decision under the budget; one that sets no widths has none to bring there."""
    return replace(decision, widths=task.project(dict(decision.widths))) if decision.widths else decision


def _best(task: Task, run: RunDir, method: TrialMethod, state: State) -> Best | None:
    """The best decision under the budget, and the last trial that trained it."""
    found = method.decision(state)
    if found is None:
        return None
    if task.select_by != "metric" and run.record.trials:
        return _best_trained(run.record.trials, task.select_by)
    trained = [event.id for event in run.record.trials if event.decision == found]
    if trained:
        return Best(found, trained[-1])
    found = _affordable(task, found)
    trained = [event.id for event in run.record.trials if event.decision == found]
    return Best(found, trained[-1] if trained else None)


def _best_trained(trials: Sequence[TrialEvent], by: SelectBy) -> Best:
    longest = max(len(trial.epochs) for trial in trials)
    rank = {trial.id: trial.score if by == "score" else -trial.loss for trial in trials if len(trial.epochs) == longest}
    chosen = max(rank, key=lambda trial: rank[trial])
    return Best(next(trial.decision for trial in trials if trial.id == chosen), chosen)


def outcome(task: Task, run: RunDir, trial: Trial, clock: Clock) -> Outcome:
    """Train one trial. What it may fail by becomes its outcome."""
    try:
        model, price = _resized(task, run, trial)
        clock.lap("rewrite")
        task.progress.trial(trial.id, price.params, price.macs, epochs=trial.epochs)
        trained = _trained(task, run, trial, model)
        clock.lap("prepare", within=trained.spent)
        task.engine.save(trained.model, run.model_path(trial.id))
        clock.lap("save")
        if _wants_evidence(task):
            with clear_errors(run.path):
                task.engine.evidence(trained.model).save(run.evidence_path(trial.id))
            clock.lap("evidence")
    except (IllegalMove, PlanError) as error:
        return _failure(task, trial, error, skipped=True)
    except TrialError as error:
        return _failure(task, trial, error, skipped=False)
    layers = [epoch.metrics for epoch in trained.epochs]
    measured = {"group_metric": group_metric(task.members, layers), "degenerate": degenerate(task.members, layers)}
    return TrialEvent(
        id=trial.id,
        decision=trial.decision,
        params=price.params,
        macs=price.macs,
        score=trained.score,
        loss=trained.loss,
        epochs=tuple(trained.epochs),
        metrics={name: figures for name, figures in measured.items() if figures or name == "group_metric"},
        file=run.model_path(trial.id).relative_to(run.path).as_posix(),
        beside={path.relative_to(run.path).as_posix(): "" for path in _beside(task, run, trial.id)},
    )


def _beside(task: Task, run: RunDir, trial: int) -> list[Path]:
    """What a trial leaves for later ones besides its model."""
    evidence = [run.evidence_path(trial)] if _wants_evidence(task) else []
    return evidence + ([run.optimizer_path(trial)] if task.carry_optimizer else [])


def _resized(task: Task, run: RunDir, trial: Trial) -> tuple[ir.Model, Price]:
    """The model of a trial, made from its parent's; models always come from disk, so that a resumed search sees the
    same bits."""
    carried = trial.parent is not None and trial.transfer != "init"
    source = run.model_path(trial.parent) if carried and trial.parent is not None else run.path / INPUT
    model = task.engine.resize(
        task.engine.load(source),
        trial.decision.widths,
        fresh=_fresh(task, trial),
        seed=trial_seed(task.seed, trial.id),
        transfer=trial.transfer,
        evidence=_evidence(task, run, trial.parent) if carried and trial.parent is not None else None,
    )
    return model, task.engine.price(model)


def _fresh(task: Task, trial: Trial) -> bool:
    return trial.transfer == "init" or (trial.parent is None and task.fresh_start)


def _trained(task: Task, run: RunDir, trial: Trial, model: ir.Model) -> Trained:
    before = run.optimizer_path(trial.parent) if task.carry_optimizer and trial.parent is not None else None
    checkpoint = run.folder(f"trials/{trial.id:03d}") / "training.safetensors"
    stops = task.progress.deadline is not None or checkpoint.exists()
    trained = task.engine.train(
        model,
        fresh=_fresh(task, trial),
        seed=trial_seed(task.seed, trial.id),
        carry_from=before,
        carry_to=run.optimizer_path(trial.id) if task.carry_optimizer else None,
        watch=task.progress,
        epochs=trial.epochs,
        checkpoint=checkpoint if stops else None,
    )
    checkpoint.unlink(missing_ok=True)
    return trained


def _wants_evidence(task: Task) -> bool:
    return bool(getattr(task.method, "wants_evidence", False))  # most methods say nothing of it


def _evidence(task: Task, run: RunDir, trial: int) -> Gathered | None:
    """What the images showed of a trial's units, where the method asks for it. Raises RunError where that is gone."""
    if not _wants_evidence(task):
        return None
    try:
        return Gathered.load(run.evidence_path(trial))
    except (OSError, ValueError) as error:
        raise RunError(f"the evidence of trial {trial + 1} can't be read: {error}") from error


def _measurement(task: Task, run: RunDir, event: Outcome) -> Measurement | None:
    """What a method is told of a trial; None where nothing came of it."""
    if isinstance(event, ErrorEvent):
        return None
    return Measurement(
        trial=event.id,
        widths=event.decision.widths,
        group_metric=event.metrics["group_metric"],
        epochs=tuple(group_epoch(task.members, epoch.metrics) for epoch in event.epochs),
        score=event.score,
        loss=event.loss,
        params=event.params,
        macs=event.macs,
        members={group: len(of) for group, of in task.members.items() if of},
        evidence=_evidence(task, run, event.id),
    )


def _failure(task: Task, trial: Trial, error: Exception, *, skipped: bool) -> ErrorEvent:
    reason = " ".join(str(error).split())
    task.progress.say(f"trial {trial.id + 1} {'skipped' if skipped else 'failed'}: {reason}")
    return ErrorEvent(trial.id, trial.decision, reason, skipped)
