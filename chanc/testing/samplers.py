"""The contract that every sampler keeps. Inherit it, say how to make the sampler, and pytest checks the rest:

    class TestMine(SamplerContract):
        def sampler(self, **options): return Mine(**options)
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chanc.rewriter.importance import Gathered, Moments
from chanc.runs import State
from chanc.study.methods.protocol import GroupEpoch, Measurement
from chanc.study.methods.registry import make, options_of
from chanc.study.methods.sampler import Proposal, Sampler
from chanc.study.space import SearchGroup, Space, Widths


@dataclass(frozen=True)
class ChainPrice:
    """The cost of a chain of 3x3 convolutions at one resolution."""

    params: int
    macs: int


def chain_price(order: tuple[str, ...], fallback: Mapping[str, int]) -> Callable[[Mapping[str, float]], ChainPrice]:
    """A price for groups that follow one another in a chain: sum of 9 n_i n_{i+1}, on 8x8 pixels."""

    def price(widths: Mapping[str, float]) -> ChainPrice:
        sizes = [3, *(widths.get(gid, fallback[gid]) for gid in order), 10]
        params: Any = sum(9 * a * b for a, b in itertools.pairwise(sizes))
        params = round(params) if isinstance(params, float) else params  # arrays of widths have arrays of prices
        return ChainPrice(params, 64 * params)

    return price


def example_space() -> Space:
    """Four groups in a chain: a plain one, one with step 2, one with step 12, and one that is pinned."""
    groups = (SearchGroup("a", 32), SearchGroup("b", 64, 2), SearchGroup("c", 48, 12), SearchGroup("d", 40, 1, False))
    sizes = {group.id: group.size for group in groups}
    return Space(groups, chain_price(tuple(sizes), sizes))


def example_measurement(space: Space, trial: int, widths: Mapping[str, int], epochs: int = 3) -> Measurement:
    """Made-up measurements that depend on the trial only: quality and rank rise and level off."""
    draw = np.random.default_rng(1000 + trial)
    metric = {group.id: 0.2 + 0.3 * (1 - math.exp(-trial / 8)) + 0.1 * float(draw.random()) for group in space.groups}
    means = tuple(
        {gid: GroupEpoch(rank=0.02 * epoch + 0.1 * float(draw.random()), kappa=4.0, qc=value)
         for gid, value in metric.items()}
        for epoch in range(epochs)
    )  # fmt: skip
    score, evidence = float(draw.random()), example_evidence(space, widths)
    return Measurement(trial, dict(widths), metric, means, score=score, evidence=evidence)


def example_evidence(space: Space, widths: Mapping[str, int]) -> Gathered:
    """Made-up evidence that depends on the widths only: a unit's effect is the less the more there are."""
    taken = {}
    for group in space.resizable:
        units = widths[group.id] // group.step
        effect = np.linspace(0.5, 1.5, units) * zlib.crc32(group.id.encode()) / 2**32 / units
        taken[group.id] = Moments(effect, effect, effect**2)
    return Gathered(1, {}, taken, {})


class SamplerContract:
    """Tests for one sampler."""

    trials = 9

    def sampler(self, **options: int) -> Sampler:
        """Make the sampler under test, with `options` over the test's own."""
        raise NotImplementedError

    def play(self, sampler: Sampler, *, through_json: bool = False) -> tuple[list[Widths], State]:
        """The widths of all trials and the last state; with `through_json` the state passes through text each time."""
        space = example_space()
        widths, state = sampler.start(space)
        history = [widths]
        for trial in range(self.trials):
            if through_json:
                state = json.loads(json.dumps(state))
            proposal = sampler.propose(space, state, example_measurement(space, trial, widths))
            state = proposal.state
            if proposal.widths is None:
                break
            widths = proposal.widths
            history.append(widths)
        return history, state

    def test_widths_are_legal(self) -> None:
        """Every proposal names the resizable groups, inside the bounds, in multiples of the quantum."""
        sampler = self.sampler(min_width=10, max_width=100, round_to=4)
        quanta = {"a": 4, "b": 4, "c": 12}
        for widths in self.play(sampler)[0]:
            assert set(widths) == set(quanta)
            for gid, width in widths.items():
                assert isinstance(width, int)
                assert width % quanta[gid] == 0
                assert 10 <= width <= 100

    def test_default_bounds_hold(self) -> None:
        """The default bounds are kept, too."""
        sampler = self.sampler()
        for widths in self.play(sampler)[0]:
            assert all(sampler.min_width <= width <= sampler.max_width for width in widths.values())

    def test_same_seed_same_search(self) -> None:
        """Two runs agree, and so does one whose state went through JSON text: a resumed search is the same one."""
        first, second = self.play(self.sampler(seed=3)), self.play(self.sampler(seed=3), through_json=True)
        assert first == second

    def test_propose_keeps_its_arguments(self) -> None:
        """The state that was handed in is still the one from before."""
        space, sampler = example_space(), self.sampler()
        widths, state = sampler.start(space)
        before = json.dumps(state)
        proposal = sampler.propose(space, state, example_measurement(space, 0, widths))
        assert isinstance(proposal, Proposal)
        assert json.dumps(state) == before

    def test_best_is_legal_and_survives_json(self) -> None:
        """The answer names every resizable group at a legal width."""
        sampler = self.sampler()
        _, state = self.play(sampler)
        best = sampler.best(json.loads(json.dumps(state)))
        assert set(best) == {"a", "b", "c"}
        assert all(width == sampler.limits.fit(width, group)
                   for group in example_space().resizable for width in [best[group.id]])  # fmt: skip

    def test_asked_and_told_is_the_same_search(self) -> None:
        """The driver's way, with the state going through JSON, makes the same trials as start and propose do."""
        space, sampler = example_space(), self.sampler(trials=self.trials)
        state, history = sampler.begin(space), []
        while True:
            asked, state = sampler.ask(space, json.loads(json.dumps(state)), 4)
            if not asked:
                break
            (trial,) = asked
            assert sampler.ask(space, state, 4) == ([], state)
            history.append(dict(trial.decision.widths))
            state = sampler.tell(space, state, trial, example_measurement(space, trial.id, trial.decision.widths)).state
        assert history == self.play(sampler)[0][: self.trials]
        found = sampler.decision(state)
        assert found is not None
        assert dict(found.widths) == sampler.best(self.play(sampler)[1])

    def test_a_failed_trial_is_forgotten(self) -> None:
        """Nothing is learned from it, and it is no parent of later trials."""
        space, sampler = example_space(), self.sampler()
        (trial,), state = sampler.ask(space, sampler.begin(space), 1)
        after = sampler.tell(space, state, trial, None).state
        assert after["own"] == state["own"]
        assert sampler.decision(after) is None
        (again,), _ = sampler.ask(space, after, 1)
        assert again == dataclasses.replace(trial, id=1)

    def test_options_make_an_equal_sampler(self) -> None:
        """Options survive JSON, and the registry builds the same sampler from them."""
        sampler = self.sampler(seed=5)
        assert make(sampler.name, **json.loads(json.dumps(options_of(sampler)))) == sampler

    def test_after_failure_is_legal(self) -> None:
        """What follows a failed trial is legal, and lies between the failed widths and the last good ones."""
        space, sampler = example_space(), self.sampler()
        good = {group.id: sampler.limits.bounds(group)[0] for group in space.resizable}
        failed = {group.id: sampler.limits.bounds(group)[1] for group in space.resizable}
        for gid, width in sampler.after_failure(space, failed, good).items():
            assert good[gid] <= width <= failed[gid]
        assert sampler.after_failure(space, failed, None) == failed
