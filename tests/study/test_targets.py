from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.study.parts import space_of
from chanc.study.space import Limits, SearchGroup, Space
from chanc.study.targets import CLOSE, project
from chanc.testing.samplers import ChainPrice, chain_price, example_space

SPACE, LIMITS = example_space(), Limits(2, 4096, 2)


def crooked(space: Space, seed: int) -> dict[str, float]:
    """A shape far from the model's: each width by a factor between a quarter and four."""
    draw = np.random.default_rng(seed)
    return {group.id: group.size * 4 ** draw.uniform(-1, 1) for group in space.resizable}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("counter", ["params", "macs"])
def test_any_shape_is_brought_to_the_target(counter: str, seed: int) -> None:
    base, target = crooked(SPACE, seed), 0.4 * SPACE.count(SPACE.widths, counter)
    found = project(SPACE, LIMITS, base, {counter: target})
    assert abs(SPACE.count(found, counter) / target - 1) <= 0.01
    assert all(LIMITS.fit(width, group) == width for group in SPACE.resizable for width in [found[group.id]])


def test_the_proportions_stay() -> None:
    base = {"a": 30.0, "b": 90.0, "c": 60.0}
    found = project(SPACE, Limits(1, 10**5, 1), base, {"params": 10**8})
    factors = [found[gid] / base[gid] for gid in base]
    assert max(factors) / min(factors) < 1.02


def test_the_smallest_miss_that_a_step_of_each_width_can_reach() -> None:
    """By hand: no neighbour within one step of any two groups is nearer than what was found."""
    coarse, target = Limits(8, 512, 8), 23_456
    found = project(SPACE, coarse, {"a": 33.0, "b": 47.0, "c": 51.0}, {"params": target})
    miss = abs(SPACE.count(found, "params") / target - 1)
    around = [{**found, "a": found["a"] + a, "b": found["b"] + b} for a in (-8, 0, 8) for b in (-8, 0, 8)]
    assert miss <= CLOSE or miss == min(abs(SPACE.count(near, "params") / target - 1) for near in around)


def test_widths_at_the_target_come_back_as_they_are() -> None:
    at = {"a": 22, "b": 34, "c": 24}
    assert project(SPACE, LIMITS, at, {"params": SPACE.count(at, "params") * 1.004}) == at
    assert project(SPACE, LIMITS, at, {"params": SPACE.count(at, "params") * 1.1}) != at


def test_bounds_keep_a_target_out_of_reach() -> None:
    assert project(SPACE, Limits(16, 64), SPACE.widths, {"params": 1}) == {"a": 16, "b": 16, "c": 24}
    assert project(SPACE, Limits(16, 64), SPACE.widths, {"macs": 10**12}) == {"a": 64, "b": 64, "c": 60}


def pyramid() -> Space:
    """Two convolutions on many pixels, two on few: params and MACs pull apart."""
    sizes = {"a": 16, "b": 32, "c": 64, "d": 128}

    def price(widths: Mapping[str, float]) -> ChainPrice:
        a, b, c, d = (widths[gid] for gid in sizes)
        params = [27 * a, 9 * a * b, 9 * b * c, 9 * c * d, 10 * d]
        macs = map(math.prod, zip(params, (1024, 256, 64, 16, 1), strict=True))
        return ChainPrice(round(sum(params)), round(sum(macs)))

    return Space(tuple(SearchGroup(gid, size) for gid, size in sizes.items()), price)


@pytest.mark.parametrize("seed", range(6))
def test_two_targets_are_both_met_and_none_is_exceeded(seed: int) -> None:
    space, limits = pyramid(), Limits(1, 4096, 1)
    counts = {counter: space.count(space.widths, counter) for counter in ("params", "macs")}
    base = {gid: width * 1.5 ** np.random.default_rng(seed).uniform(-1, 1) for gid, width in space.widths.items()}
    found, stiff = (project(space, limits, base, counts, bend=bend) for bend in (True, False))
    for counter, target in counts.items():
        assert 0.985 * target <= space.count(found, counter) <= target
        assert space.count(stiff, counter) <= target
    factors = [stiff[gid] / base[gid] for gid in base]
    assert max(factors) / min(factors) < 1.3


def test_tied_groups_have_one_factor() -> None:
    space = dataclasses.replace(SPACE, ties={"a": "both", "b": "both"})
    assert {name: [group.id for group in of] for name, of in space.units.items()} == {"both": ["a", "b"], "c": ["c"]}
    for seed in range(4):
        found = project(space, LIMITS, crooked(space, seed), {"params": 400_000})
        assert abs(space.count(found, "params") / 400_000 - 1) <= 0.01
        assert found["b"] == pytest.approx(2 * found["a"], abs=2)


def test_tied_groups_of_one_size_have_one_width() -> None:
    space = Space((SearchGroup("a", 24), SearchGroup("b", 24), SearchGroup("c", 24)),
                  chain_price(("a", "b", "c"), dict.fromkeys("abc", 24)), {"a": "x", "c": "x"})  # fmt: skip
    for seed in range(4):
        found = project(space, Limits(1, 512, 1), crooked(space, seed), {"params": 9_000})
        assert found["a"] == found["c"]
        assert abs(space.count(found, "params") / 9_000 - 1) <= 0.03


def test_a_networks_cost_is_met_as_the_analysis_counts_it(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    space = space_of(analysis)
    found = project(space, Limits(1, 512, 1), crooked(space, 0), {"macs": analysis.macs * 2})
    assert abs(analysis.cost_at(found).macs / (analysis.macs * 2) - 1) <= 0.01
