from __future__ import annotations

from typing import Any

from chanc.study.methods.trial.evolve import Evolve
from chanc.testing.halving import HalvingContract


class TestEvolveContract(HalvingContract):
    def method(self, **options: Any) -> Evolve:
        return Evolve(**options)
