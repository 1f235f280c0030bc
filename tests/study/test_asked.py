"""What a run keeps of the arguments of a search, and what one that is resumed is called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.study.asked import remembered
from chanc.tasks import Classification


@remembered
def search(
    model: object = None,
    *,
    out: Path = Path("run"),
    resume: bool = False,
    seed: int | None = None,
    data: object = "digits",
    task: object = "classification",
    pool: object = None,
    train: Mapping[str, Any] | None = None,
    compare: Sequence[str] = (),
    asked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What it was called with."""
    return {"model": model, "resume": resume, "data": data, "train": train, "compare": compare, "asked": asked}


def test_what_was_given_is_handed_on_for_the_record(tmp_path: Path) -> None:
    train = {"lr": 0.1, "flip": None}
    found = search("m.onnx", out=tmp_path, data=Path("photos"), seed=None, train=train, compare=("a",))
    assert found["asked"] == {"data": "photos", "train": {"lr": 0.1}, "compare": ["a"]}
    assert (found["model"], found["train"], found["compare"]) == ("m.onnx", {"lr": 0.1}, ["a"])


def test_a_run_that_is_resumed_gives_what_is_missing(tmp_path: Path) -> None:
    kept = {"data": "photos", "train": {"lr": 0.1, "flip": False}, "compare": ["a", "b"]}
    runs.create(tmp_path, {}, {}, asked=kept)
    assert search(out=tmp_path, resume=True)["asked"] == kept
    found = search(out=tmp_path, resume=True, data="digits", train={"lr": 0.2}, compare=[])
    assert (found["data"], found["train"], found["compare"]) == ("digits", {"lr": 0.2, "flip": False}, [])
    assert runs.read_run(tmp_path).asked == kept


def test_a_model_is_needed_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a search needs a model to start from"):
        search(out=tmp_path)
    with pytest.raises(RunError, match="holds no run to resume"):
        search(out=tmp_path / "nowhere", resume=True)


def test_objects_are_handed_on_and_only_their_words_kept(tmp_path: Path) -> None:
    batches, task = [{"x": 1}], Classification(label_smoothing=0.1)
    found = search("m.onnx", data=batches, task=task)
    assert found["data"] is batches
    assert found["asked"] == {"data": "<from Python>", "task": "<Classification(label_smoothing=0.1)>"}
    runs.create(tmp_path, {}, {}, asked=found["asked"])
    with pytest.raises(RunError, match="the data of this run came from Python: give it again"):
        search(out=tmp_path, resume=True)
    with pytest.raises(RunError, match="the task of this run came from Python"):
        search(out=tmp_path, resume=True, data=batches)
    assert search(out=tmp_path, resume=True, data=batches, task=task)["data"] is batches
    with pytest.raises(RunError, match="other processes"):
        search("m.onnx", data=batches, pool=object())
