"""The fuzz gate: mutated models end in a ChancError or in a right result, and what doesn't is seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from chanc.backends import ort
from chanc.ir import load
from chanc.testing.fuzz import gate, steps
from chanc.testing.fuzz.files import Mutant, mutant
from chanc.testing.fuzz.gate import run, taken
from chanc.testing.fuzz.seeds import EXTERNAL, beside, seeds
from chanc.testing.fuzz.steps import Outcome


def test_seventy_five_files(tmp_path: Path) -> None:
    """In this process, each file a third of the steps; a night has thousands, each in a process with its limits."""
    pytest.importorskip("torch")
    outcomes = {number: taken(mutant(7, number), tmp_path / "work", every=3) for number in range(75)}
    assert {number: outcome.troubles for number, outcome in outcomes.items() if outcome.troubles} == {}
    assert sum(outcome.done for outcome in outcomes.values()) > 75


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_thousand_files(seed: int) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "chanc.testing.fuzz", "--files", "3000", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_file_is_the_same_again_and_others_are_others() -> None:
    assert mutant(3, 5) == mutant(3, 5)
    assert len({mutant(3, number).data for number in range(20)}) == 20


def test_what_is_mutated_runs(tmp_path: Path) -> None:
    (tmp_path / EXTERNAL).write_bytes(beside())
    for name, model in seeds().items():
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        loaded = load(tmp_path / "model.onnx")
        assert ort.run(loaded, ort.random_feeds(loaded)), name


GROWN: list[int] = []
FAULTS: dict[str, Callable[[], object]] = {
    "hang": lambda: list(iter(int, 1)),
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: GROWN.append(1),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_worker_that_fails_is_replaced(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files before and after are done, and the fault is told with how the file was made."""
    good = Outcome(1, 0, ())

    def take(made: Mutant, folder: Path) -> Outcome:
        if made.number == 1:
            FAULTS[kind]()
        return good

    monkeypatch.setattr(gate, "taken", take)
    monkeypatch.setattr(gate, "_ends_onnxruntime", lambda made: False)  # by night it is asked
    monkeypatch.setattr(gate, "_memory", lambda field: 1 << 40 if field == "VmSize" else len(GROWN) * (5 << 30))
    found = [outcome for _, outcome in run(0, range(3), seconds=0.2)]
    assert found[0] == found[2] == good
    assert [trouble.kind for trouble in found[1].troubles] == [kind]
    assert found[1].troubles[0].text == mutant(0, 1).made


def test_troubles_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another exception, an empty message, a wrong model."""

    def broken(*arguments: object, **options: object) -> object:
        raise KeyError("x")

    def wordy(*arguments: object, **options: object) -> object:
        raise steps.ChancError(" ")

    monkeypatch.setattr(steps.chanc, "codegen", broken)
    monkeypatch.setattr(steps.chanc, "analyze", wordy)
    made = Mutant(1, "as it is", seeds()["residual"].SerializeToString())
    monkeypatch.setattr(steps.chanc, "rewrite", _wrongly(steps.chanc.rewrite))
    troubles = taken(made, tmp_path / "work").troubles
    assert [trouble.kind for trouble in troubles] == ["message", "wrong", "exception"]
    assert "KeyError at test_fuzz.py" in troubles[2].place.replace(str(Path(__file__).parent) + "/", "")


def _wrongly(rewrite: Callable[..., object]) -> Callable[..., object]:
    """A rewrite that spoils a weight."""

    def wrong(path: Path, **options: object) -> object:
        done = rewrite(path, **options)
        if options.get("transfer") == "widen":
            for value in done.model.graph.initializers.values():  # type: ignore[attr-defined]
                tensor = value.const_value
                if len(tensor.shape) == 4:
                    value.const_value = ir.tensor(tensor.numpy() * 1.5, name=tensor.name)
        return done

    return wrong


@pytest.mark.nightly
def test_what_ends_onnxruntime_by_itself_is_told_apart() -> None:
    """File 1221 of seed 0: a Loop carries a tensor of another rank than its body declares; the process is aborted."""
    ((_, outcome),) = run(0, [1221])
    assert [trouble.kind for trouble in outcome.troubles] == ["onnxruntime"]
