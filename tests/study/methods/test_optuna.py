from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from chanc.errors import MissingDependencyError
from chanc.study.methods.trial.optuna import Optuna
from chanc.testing.halving import HalvingContract, narrow_middle, play

pytest.importorskip("optuna")
pytest.importorskip("cmaes")


class TestTpeContract(HalvingContract):
    def method(self, **options: Any) -> Optuna:
        return Optuna(**options)


class TestCmaesContract(HalvingContract):
    def method(self, **options: Any) -> Optuna:
        return Optuna(sampler="cmaes", **options)


@pytest.mark.parametrize(("missing", "purpose"), [("optuna", "the optuna search"), ("cmaes", "Optuna's CMA-ES")])
def test_without_it_one_clear_line(missing: str, purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(MissingDependencyError, match=rf"{purpose} needs {missing}: pip install 'chanc\[optuna\]'"):
        Optuna(sampler="cmaes")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_it_learns_what_is_better(sampler: str, seed: int) -> None:
    """Later networks are better than earlier ones, on a loss that is the same for all seeds."""
    method = Optuna(sampler=sampler, seed=seed, trials=32, rungs=1, round_to=1)  # type: ignore[arg-type]
    losses = [narrow_middle(trial) for trial in play(method)[0]]
    assert sum(losses[2:12]) > sum(losses[-10:])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    play(Optuna(trials=6))
    assert capfd.readouterr() == ("", "")
