from __future__ import annotations

from typing import Any

import pytest

from chanc.study.methods.protocol import GroupEpoch, Measurement
from chanc.study.methods.trial.conet import Conet
from chanc.study.space import SearchGroup, Space
from chanc.testing.samplers import SamplerContract

ONE = Space((SearchGroup("a", 64),))
TWO = Space((SearchGroup("a", 64), SearchGroup("b", 64)))


class TestConetContract(SamplerContract):
    def sampler(self, **options: int) -> Conet:
        return Conet(**options)


class TestConetOnePhiContract(SamplerContract):
    def sampler(self, **options: int) -> Conet:
        return Conet(phi_by="global", at_minimum="expand", at_delta="expand", kappa_at=">=", **options)


def climb(slope: float, kappa: float = 3.0, epochs: int = 3) -> list[GroupEpoch]:
    return [GroupEpoch(rank=0.1 + slope * epoch, kappa=kappa, qc=0.5) for epoch in range(epochs)]


def seen(trial: int, widths: dict[str, int], **slopes: float) -> Measurement:
    rows = {gid: climb(slope) for gid, slope in slopes.items()}
    epochs = tuple({gid: row[i] for gid, row in rows.items()} for i in range(3))
    return Measurement(trial, widths, dict.fromkeys(slopes, 0.5), epochs)


def test_golden_rule_from_32() -> None:
    sampler = Conet(remainder="dropped")
    widths, state = sampler.start(ONE)
    assert widths == {"a": 32}
    sizes = []
    for trial, sign in enumerate("+++-+-+-+"):
        proposal = sampler.propose(ONE, state, seen(trial, widths, a=0.05 if sign == "+" else 0.0))
        state = proposal.state
        assert (proposal.widths is None) == (trial == 8)
        widths = sampler.best(state)
        sizes.append(widths["a"])
    assert sizes == [38, 46, 56, 50, 52, 50, 50, 50, 50]
    assert state["rule"]["a"]["frozen"]


def test_slope_ends_at_the_highest_rank() -> None:
    ranks = [0.1, 0.2, 0.3, 0.25, 0.2]
    epochs = [GroupEpoch(rank, 3.0, 0.5) for rank in ranks]
    assert Conet(delta=0.099).action(epochs) == 1
    assert Conet(delta=0.101).action(epochs) == -1
    assert Conet(delta=1e-9).action(epochs[::-1][2:]) == -1


@pytest.mark.parametrize(
    ("options", "slope", "kappa", "action"),
    [
        ({}, 0.02, 3.0, 1),
        ({}, 0.001, 3.0, -1),
        ({}, 0.02, 10.5, -1),
        ({}, 0.02, 10.0, 1),
        ({"kappa_at": ">="}, 0.02, 10.0, -1),
    ],
)
def test_action(options: dict[str, Any], slope: float, kappa: float, action: int) -> None:
    assert Conet(**options).action(climb(slope, kappa)) == action


def test_slope_equal_to_delta() -> None:
    epochs = [GroupEpoch(0.0, 3.0, 0.5), GroupEpoch(0.125, 3.0, 0.5)]
    assert Conet(delta=0.125).action(epochs) == 0
    assert Conet(delta=0.125, at_delta="expand").action(epochs) == 1


def test_at_the_minimum_hold_or_expand() -> None:
    for option, width in (("hold", 16), ("expand", 20)):
        sampler = Conet(start_width=16, at_minimum=option)  # type: ignore[arg-type]
        widths, state = sampler.start(ONE)
        assert sampler.propose(ONE, state, seen(0, widths, a=0.0)).widths == {"a": width}


def test_one_phi_for_all_groups_stops_all() -> None:
    sampler = Conet(phi_by="global", phi=0.02, gamma=0.015)
    widths, state = sampler.start(TWO)
    actions = [(0.05, 0.05), (0.0, 0.05), (0.05, 0.05)]
    phis = []
    for trial, (a, b) in enumerate(actions):
        proposal = sampler.propose(TWO, state, seen(trial, widths, a=a, b=b))
        widths, state = proposal.widths or widths, proposal.state
        phis.append(state["rule"]["b"]["phi"])
    assert phis == [0.02, 0.01, 0.005]
    assert proposal.widths is None
    assert all(rule["frozen"] for rule in state["rule"].values())


def test_frozen_group_keeps_its_width_while_others_move() -> None:
    sampler = Conet(phi=0.2, gamma=0.3)
    widths, state = sampler.start(TWO)
    for trial, (a, b) in enumerate([(0.05, 0.05), (0.0, 0.05), (0.05, 0.05)]):
        proposal = sampler.propose(TWO, state, seen(trial, widths, a=a, b=b))
        assert proposal.widths is not None
        widths, state = proposal.widths, proposal.state
    assert widths == {"a": 38, "b": 56}


@pytest.mark.parametrize(("remainder", "sizes"), [("kept", [16, 17.6, 19.36]), ("dropped", [16, 18, 19.8])])
def test_what_rounding_takes_off_is_kept_or_dropped(remainder: Any, sizes: list[float]) -> None:
    sampler = Conet(phi=0.1, remainder=remainder)
    state = sampler.start(ONE)[1]
    for trial, real in enumerate(sizes[1:]):
        width = sampler.limits.fit(sizes[trial], ONE.groups[0])
        proposal = sampler.propose(ONE, state, seen(trial, {"a": width}, a=0.05))
        state = proposal.state
        assert proposal.widths == {"a": sampler.limits.fit(real, ONE.groups[0])}
        assert state["real"] == ({"a": pytest.approx(real)} if remainder == "kept" else {})
