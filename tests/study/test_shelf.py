from __future__ import annotations

import dataclasses
import fcntl
from pathlib import Path

import pytest

from chanc.runs import Decision, RunDir, read_run
from chanc.study import shelf as shelves
from chanc.study.compare import Finals, train_finals
from chanc.study.progress import Progress, TimeUp
from chanc.study.shelf import Shelf
from chanc.testing.engines import FakeEngine, toy

WIDTHS = {"found": [{"a": 8, "b": 8}] * 2, "baseline": [{"a": 32, "b": 48}] * 2}
OTHERS = {**WIDTHS, "found": [{"a": 16, "b": 8}] * 2}


def finals(shelf: Path, lr: float = 0.1, seeds: int = 2, data: str = "digits") -> Finals:
    return Finals({"lr": lr}, 5, seeds, ("baseline",), Shelf(shelf, {"data": data}))


def trained(path: Path, engine: FakeEngine, asked: Finals, widths: dict[str, list[dict[str, int]]]) -> RunDir:
    from chanc import runs

    run = runs.create(path, {}, {})
    engine.save(toy({"a": 32, "b": 48}), path / "input.onnx")
    engine.calls.clear()
    rivalry = {name: [Decision(each) for each in of] for name, of in widths.items()}
    train_finals(engine, run, asked, rivalry, 0, Progress(1, 1, quiet=True))
    return run


def count(engine: FakeEngine) -> int:
    return len([call for call in engine.calls if "final" in call])


def test_what_runs_have_in_common_is_trained_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    first = trained(tmp_path / "a", engine, finals(tmp_path / "s"), WIDTHS)
    assert count(engine) == 4
    second = trained(tmp_path / "b", engine, finals(tmp_path / "s"), OTHERS)
    assert count(engine) == 2
    assert [event.id for event in second.record.finals] == [event.id for event in first.record.finals]
    one, other = ({event.id: event for event in read_run(run.path).finals} for run in (first, second))
    assert one["baseline-1"] == other["baseline-1"]
    assert (second.path / "final/baseline-1/model.onnx").is_file()
    alone = trained(tmp_path / "c", engine, dataclasses.replace(finals(tmp_path / "s"), shelf=None), OTHERS)
    assert read_run(alone.path).log == read_run(second.path).log


@pytest.mark.parametrize("other", [{"lr": 0.2}, {"data": "cifar10"}])
def test_another_recipe_or_other_data_is_another_training(tmp_path: Path, other: dict[str, object]) -> None:
    engine = FakeEngine()
    trained(tmp_path / "a", engine, finals(tmp_path / "s"), WIDTHS)
    trained(tmp_path / "b", engine, finals(tmp_path / "s", **other), WIDTHS)  # type: ignore[arg-type]
    assert count(engine) == 4


@pytest.mark.parametrize("name", ["final.json", "model.onnx"])
def test_what_was_left_half_done_or_damaged_is_done_again(tmp_path: Path, name: str) -> None:
    engine = FakeEngine()
    trained(tmp_path / "a", engine, finals(tmp_path / "s"), WIDTHS)
    for place in (tmp_path / "s").iterdir():
        (place / name).write_text("half")
    trained(tmp_path / "b", engine, finals(tmp_path / "s"), WIDTHS)
    assert count(engine) == 4
    trained(tmp_path / "c", engine, finals(tmp_path / "s"), WIDTHS)
    assert count(engine) == 0


def test_a_run_waits_for_the_one_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, engine = Shelf(tmp_path / "s", {}), FakeEngine()
    bout = dataclasses.make_dataclass("Bout", ["name", "turn", "seed"])("baseline", 0, 3)
    with shelf.reserved(bout, lambda: None) as place:
        assert place == shelf.place(dataclasses.replace(bout, name="uniform-params", turn=1))
        assert place != shelf.place(dataclasses.replace(bout, seed=4))
    naps = list[float]()
    other = open(place / ".lock")  # noqa: SIM115
    fcntl.flock(other, fcntl.LOCK_EX)

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            other.close()

    monkeypatch.setattr(shelves.time, "sleep", nap)
    with shelf.reserved(bout, lambda: None):
        assert len(naps) == 3
    assert not engine.calls

    def too_late() -> None:
        raise TimeUp

    other = open(place / ".lock")  # noqa: SIM115
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(TimeUp), other, shelf.reserved(bout, too_late):
        pass
