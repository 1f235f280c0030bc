"""The protocol, by two strangers: a supernet that trains by itself, and a trial method that asks for two at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.runs import Best, Decision, EpochEvent, Event, State, StateEvent, Trial, best, read_run
from chanc.study.driver import Task, run_method
from chanc.study.methods.protocol import Context, Measurement, Told, TrialMethod, WholeMethod
from chanc.study.outcome import finish
from chanc.study.progress import Progress
from chanc.study.space import Space
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine, toy


@dataclass(frozen=True)
class Supernet:
    """Each epoch halves the distance of every width to 8; what it knows lies in a file. kill_at: the event not made."""

    name: ClassVar[str] = "supernet"

    epochs: int = 4
    kill_at: int | None = None

    def run(self, context: Context) -> Iterator[Event]:
        done = [event for event in context.record.events if isinstance(event, EpochEvent)]
        if best(context.record) is not None:
            return
        widths = context.space.widths
        if done:
            widths = json.loads((context.record.path / done[-1].file).read_text())
        for epoch in range(len(done), self.epochs):
            if epoch == self.kill_at:
                raise KeyboardInterrupt
            widths = {gid: (width + 8) // 2 for gid, width in widths.items()}
            file = context.folder("supernet") / f"{epoch}.json"
            file.write_text(json.dumps(widths))
            context.watch.epoch(epoch, 1 / (epoch + 1), 0.5)
            yield EpochEvent(epoch, loss=1 / (epoch + 1), score=0.5, file=f"supernet/{epoch}.json")
        if self.kill_at == self.epochs:
            raise KeyboardInterrupt
        model = context.folder("supernet") / "model.onnx"
        context.engine.save(toy(widths, 0.7), model)
        yield StateEvent({}, best=Best(Decision(widths)), file="supernet/model.onnx")


@dataclass(frozen=True)
class Pairs:
    """Two trials at a time, the second one half as wide; the one with the higher score is the parent of the next."""

    rounds: int = 2

    def begin(self, space: Space) -> State:
        return {"asked": 0, "told": 0, "widths": space.widths, "scores": {}, "best": None}

    def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
        asked = state["asked"]
        if asked > state["told"] or asked >= 2 * self.rounds:
            return [], state
        parent = max(state["scores"], key=state["scores"].get, default=None)
        widths = [state["widths"], {gid: width // 2 for gid, width in state["widths"].items()}]
        trials = [Trial(asked + i, Decision(of), epochs=1 + i, parent=parent and int(parent)) for i, of in
                  enumerate(widths)]  # fmt: skip
        return trials, {**state, "asked": asked + 2}

    def tell(self, space: Space, state: State, trial: Trial, seen: Measurement | None) -> Told:
        after = {**state, "told": state["told"] + 1}
        if seen is None:
            return Told(after)
        scores = {**state["scores"], str(trial.id): seen.score}
        if seen.score == max(scores.values()):
            after["best"] = dict(trial.decision.widths)
        return Told({**after, "scores": scores}, {"score": {"all": seen.score}})

    def decision(self, state: State) -> Decision | None:
        return Decision(state["best"]) if state["best"] else None


def go(path: Path, method: TrialMethod | WholeMethod, engine: FakeEngine) -> tuple[Task, runs.RunDir]:
    if path.exists():
        run = runs.resume(path, {})
    else:
        run = runs.create(path, {}, {}, {"input.onnx": lambda file: engine.save(toy(SPACE.widths), file)})
    task = Task("stranger", method, SPACE, engine, MEMBERS, 0, Progress(4, 2, quiet=True))
    run_method(task, run)
    return task, run


def log(path: Path) -> bytes:
    return (path / "events.jsonl").read_bytes()


@pytest.mark.parametrize("kill_at", range(5))
def test_a_supernet_killed_between_events_goes_on(tmp_path: Path, kill_at: int) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    go(calm, Supernet(), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        go(cut, Supernet(kill_at=kill_at), FakeEngine())
    assert log(cut).count(b"\n") == 1 + kill_at
    assert log(calm).startswith(log(cut))
    go(cut, Supernet(), FakeEngine())
    assert log(cut) == log(calm)
    go(cut, Supernet(kill_at=0), FakeEngine())
    assert log(cut) == log(calm)


def test_a_supernet_ends_in_its_decision_and_its_own_model(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = go(tmp_path / "run", Supernet(), engine)
    result = finish(task, engine, run, None)
    assert (result.widths, result.trial) == ({"a": 9, "b": 10}, None)
    assert json.loads(result.model.read_text()) == {"widths": {"a": 9, "b": 10}, "weight": 0.7}


def test_two_trials_at_a_time(tmp_path: Path) -> None:
    engine = FakeEngine()
    go(tmp_path / "run", Pairs(), engine)
    record = read_run(tmp_path / "run")
    assert [event.kind for event in record.events] == ["start", "state", *["trial", "trial", "state"] * 2]
    assert [call["epochs"] for call in engine.calls] == [1, 2, 1, 2]
    assert [len(event.epochs) for event in record.trials] == [1, 2, 1, 2]
    parents = [trial.parent for state in record.of(StateEvent) for trial in state.asked]
    first = max(record.trials[:2], key=lambda event: event.score).id
    assert parents == [None, None, first, first]
    found = best(record)
    assert found is not None
    assert found.trial == max(record.trials, key=lambda event: event.score).id
    assert dict(record.of(StateEvent)[1].figures) == {
        str(event.id): {"score": {"all": event.score}} for event in record.trials[:2]
    }


@pytest.mark.parametrize("kill_at", range(4))
def test_two_at_a_time_killed_and_resumed(tmp_path: Path, kill_at: int) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    go(calm, Pairs(), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        go(cut, Pairs(), FakeEngine(kill_at=kill_at))
    engine = FakeEngine()
    go(cut, Pairs(), engine)
    assert len(engine.calls) == 4 - kill_at
    assert log(cut) == log(calm)


def test_a_method_that_breaks_is_one_line(tmp_path: Path) -> None:
    """Whole or not, and with the method's name."""

    class Broken(Pairs):
        def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
            raise IndexError("no\nwidths")

    for at, method in enumerate((Supernet(epochs=None), Broken())):
        with pytest.raises(RunError, match=r"the stranger search failed: (TypeError|IndexError: no widths)"):
            go(tmp_path / str(at), method, FakeEngine())
