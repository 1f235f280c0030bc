from __future__ import annotations

from chanc.study.methods.trial.flat import Flat
from chanc.testing.halving import fine_space
from chanc.testing.samplers import SamplerContract


class TestFlatContract(SamplerContract):
    def sampler(self, **options: int) -> Flat:
        return Flat(**options)


def test_all_widths_are_equal_at_the_models_params() -> None:
    space = fine_space()
    widths = Flat(round_to=1).draw(space, 0)
    assert max(widths.values()) - min(widths.values()) <= 1
    assert abs(space.count(widths, "params") / space.count(space.widths, "params") - 1) <= 0.01
