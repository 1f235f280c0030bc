from __future__ import annotations

from typing import Any

import pytest

from chanc.study.methods.trial.optuna import Optuna
from chanc.testing.halving import HalvingContract

pytest.importorskip("optuna")


class TestTpeContract(HalvingContract):
    def method(self, **options: Any) -> Optuna:
        return Optuna(**options)


class TestCmaesContract(HalvingContract):
    def method(self, **options: Any) -> Optuna:
        return Optuna(sampler="cmaes", **options)
