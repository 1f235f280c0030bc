"""Targets, groups and places on the command line of `chanc search`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import chanc.api
from chanc.cli import main
from chanc.cli.options import Amount
from chanc.study.pools.local import LocalPool


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks of `chanc.search`."""
    found: dict[str, Any] = {}

    def search(model: object, **given: Any) -> object:
        found.update(given)
        return SimpleNamespace(stopped=False, model=Path("nowhere"))

    monkeypatch.setattr(chanc.api, "search", search)
    return found


@pytest.mark.parametrize(
    ("unit", "text", "amount"),
    [("count", "1.5M", 1_500_000), ("count", "25%", "25%"), ("count", "12.5%", "12.5%"), ("ms", "2.5", 2.5),
     ("ms", "80%", "80%")],
)  # fmt: skip
def test_amounts(unit: str, text: str, amount: object) -> None:
    assert Amount(unit).convert(text, None, None) == amount


@pytest.mark.parametrize("words", ["--target-params 0%", "--target-params half", "--target-macs -3",
                                   "--target-latency 0", "--target-latency fast%"])  # fmt: skip
def test_what_is_no_amount_is_wrong_usage(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", "net.onnx", *words.split()])
    assert stop.value.code == 2
    assert words.split()[0] in capsys.readouterr().err


def test_targets_are_options_of_every_trial_method(asked: dict[str, Any]) -> None:
    for algo in ("greedy", "sa", "conet", "uniform", "flat", "random", "shape", "evolve", "optuna"):
        main(["search", "net.onnx", "--algo", algo, "--target-params", "25%", "--target-macs", "2M"])
        assert asked["options"] == {"target_params": "25%", "target_macs": 2_000_000}


def test_groups_are_kept_and_tied_by_patterns(asked: dict[str, Any]) -> None:
    main(["search", "net.onnx", "--keep", "stem", "--keep", "head.*", "--tie", "layer1.*=a", "--tie", "x=y=b"])
    assert asked["keep"] == ("stem", "head.*")
    assert asked["ties"] == {"layer1.*": "a", "x=y": "b"}
    main(["search", "net.onnx"])
    assert not asked.get("pool")


@pytest.mark.parametrize("word", ["layer1.*", "=a", "layer1="])
def test_a_tie_without_a_name_is_wrong_usage(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", "net.onnx", "--tie", word])
    assert stop.value.code == 2
    assert "write PATTERN=NAME" in capsys.readouterr().err


def test_workers_are_a_pool_and_trials_at_a_time(asked: dict[str, Any]) -> None:
    main(["search", "net.onnx", "--algo", "evolve", "--workers", "3"])
    assert asked["at_once"] == 3
    assert isinstance(asked["pool"], LocalPool)
    assert asked["pool"].workers == 3


def test_slurm_needs_a_number_of_trials(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chanc.cli.search.open_pool", lambda out, **place: (LocalPool(), "all"))
    with pytest.raises(SystemExit) as stop:
        main(["search", "net.onnx", "--slurm", "gpu"])
    assert stop.value.code == 2
    assert "--slurm needs --workers" in capsys.readouterr().err
