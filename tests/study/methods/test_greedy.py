from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from chanc.study.methods.protocol import Measurement
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.space import SearchGroup, Space
from chanc.testing.samplers import SamplerContract


class TestGreedyContract(SamplerContract):
    def sampler(self, **options: int) -> Greedy:
        return Greedy(**options)


class TestGreedyPaperStepContract(SamplerContract):
    def sampler(self, **options: int) -> Greedy:
        return Greedy(first_step="paper", best_by="group", start_width=0, **options)


def resnet34_members() -> dict[str, list[tuple[int, str]]]:
    """Group -> [(conv in parameter order, its in or out axis)] of ResNet34: stem, then 3-4-6-3 blocks of two 3x3.

    A block that changes the resolution ends with a 1x1 shortcut. R1..R4 are the residual streams, b0..b15 the insides.
    """
    members: dict[str, list[tuple[int, str]]] = {"R1": [(0, "out")]}
    conv, block, stream = 1, 0, "R1"
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for index in range(blocks):
            inner, after = f"b{block}", f"R{stage}"
            members.setdefault(inner, []).append((conv, "out"))
            members.setdefault(after, [])
            members[stream].append((conv, "in"))
            members[inner].append((conv + 1, "in"))
            members[after].append((conv + 1, "out"))
            conv, block = conv + 2, block + 1
            if stage > 1 and index == 0:
                members[stream].append((conv, "in"))
                members[after].append((conv, "out"))
                conv += 1
            stream = after
    return members


def group_means(members: dict[str, list[tuple[int, str]]], trial: int) -> dict[str, float]:
    rng = np.random.default_rng(100 + trial)
    base = 0.2 + 0.3 * (1 - np.exp(-trial / 8))
    axes = {"in": base + 0.1 * rng.random(36), "out": base + 0.1 * rng.random(36)}
    return {gid: float(np.mean([axes[axis][conv] for conv, axis in elements])) for gid, elements in members.items()}


def test_resnet34_has_twenty_groups_of_36_convolutions() -> None:
    members = resnet34_members()
    assert len(members) == 20
    assert {gid: len(members[gid]) for gid in ("R1", "R2", "R3", "R4")} == {"R1": 9, "R2": 10, "R3": 14, "R4": 6}
    assert all(len(elements) == 2 for gid, elements in members.items() if gid.startswith("b"))
    assert sum(map(len, members.values())) == 71
    assert max(conv for elements in members.values() for conv, _ in elements) == 35


def test_golden_trace_on_resnet34() -> None:
    members = resnet34_members()
    space = Space(tuple(SearchGroup(gid, 64) for gid in members))
    sampler = Greedy(gamma=0.8, remainder="dropped")
    widths, state = sampler.start(space)
    assert set(widths.values()) == {16}
    sizes, means = {}, {}
    for trial in range(11):
        proposal = sampler.propose(space, state, Measurement(trial, widths, group_means(members, trial)))
        assert proposal.widths is not None
        widths, state = proposal.widths, proposal.state
        sizes[trial + 1] = list(widths.values())
        means[trial + 1] = float(np.mean(list(proposal.momentum.values())))
    assert sizes[1] == [32] * 20
    assert sizes[2] == [40, 40, 38, 40, 40, 40, 40, 38, 40, 40, 40, 40, 38, 40, 38, 40, 40, 40, 40, 40]
    assert sizes[11] == [150, 146, 128, 140, 142, 148, 148, 146, 150, 142, 146, 150, 144, 154, 140, 156, 148, 146, 146,
                         146]  # fmt: skip
    assert means[1] == pytest.approx(0.25066436, abs=5e-9)
    assert means[2] == pytest.approx(0.48433436, abs=5e-9)
    assert means[11] == pytest.approx(1.89795416, abs=5e-9)


ONE = Space((SearchGroup("a", 64), SearchGroup("b", 64)))


def play(sampler: Greedy, metrics: list[tuple[float, float]]) -> tuple[list[dict[str, int]], dict[str, object]]:
    widths, state = sampler.start(ONE)
    history = [widths]
    for trial, (a, b) in enumerate(metrics):
        proposal = sampler.propose(ONE, state, Measurement(trial, widths, {"a": a, "b": b}))
        assert proposal.widths is not None
        widths, state = proposal.widths, proposal.state
        history.append(widths)
    return history, state


def test_factor_is_clipped_to_half_and_double() -> None:
    history, _ = play(Greedy(gamma=1.0, start_width=64, first_step="paper"), [(3.0, -3.0)])
    assert history[1] == {"a": 128, "b": 32}


def test_paper_first_step_uses_the_whole_metric() -> None:
    history, _ = play(Greedy(first_step="paper", start_width=40), [(0.25, 0.0)])
    assert history[1] == {"a": 50, "b": 40}


def test_no_memory_at_gamma_zero() -> None:
    _, state = play(Greedy(gamma=0.0), [(0.2, 0.4), (0.5, 0.1)])
    assert state["momentum"] == {"a": 0.5, "b": 0.1}


def test_best_is_global_from_the_sixth_trial() -> None:
    metrics = [(9.0, 9.0)] + [(0.1, 0.1)] * 4 + [(0.3, 0.2), (0.9, 0.1), (0.2, 0.7), (0.1, 0.1)]
    history, state = play(Greedy(gamma=0.0, max_width=64, min_width=2), metrics)
    sampler = Greedy(gamma=0.0)
    assert sampler.best(state) == history[6]
    assert state["best"]["trial"] == 6
    each = Greedy(gamma=0.0, best_by="group").best(state)
    assert each == {"a": history[6]["a"], "b": history[7]["b"]}


def test_short_search_answers_with_its_last_trial() -> None:
    history, state = play(Greedy(gamma=0.0), [(0.9, 0.9), (0.1, 0.1)])
    assert Greedy().best(state) == history[1]
    json.dumps(state)


def test_group_without_a_measured_member_stays() -> None:
    sampler = Greedy()
    widths, state = sampler.start(ONE)
    for trial in range(3):
        proposal = sampler.propose(ONE, state, Measurement(trial, widths, {"a": 0.4}))
        widths, state = proposal.widths or {}, proposal.state
    assert widths["b"] == 32


@pytest.mark.parametrize(("remainder", "sizes"), [("kept", [32, 32, 34, 34, 36]), ("dropped", [32, 32, 32, 32, 32])])
def test_what_rounding_takes_off_is_kept_or_dropped(remainder: Any, sizes: list[int]) -> None:
    space = Space((SearchGroup("a", 32),))
    sampler = Greedy(gamma=1.0, first_step="paper", start_width=32, remainder=remainder)
    widths, state = sampler.start(space)
    found = []
    for trial in range(5):
        found.append(widths["a"])
        proposal = sampler.propose(space, state, Measurement(trial, widths, {"a": 0.025}))
        assert proposal.widths is not None
        widths, state = proposal.widths, json.loads(json.dumps(proposal.state))
    assert found == sizes


def test_a_width_that_was_changed_on_the_way_is_what_it_goes_on_from() -> None:
    space = Space((SearchGroup("a", 32),))
    sampler = Greedy(gamma=1.0, first_step="paper")
    state = {**sampler.start(space)[1], "real": {"a": 32.9}}
    for trained, real in ((32, 32.9), (24, 24.0)):  # 32.9 was rounded to 32, but 24 is what a budget made of it
        found = sampler.propose(space, state, Measurement(0, {"a": trained}, {"a": 0.5}))
        assert found.state["real"]["a"] == pytest.approx(1.5 * real)


def test_the_cumulative_metric_is_the_mean_over_layers() -> None:
    space = Space((SearchGroup("a", 32), SearchGroup("b", 32)))
    sampler = Greedy()
    seen = Measurement(0, {"a": 16, "b": 16}, {"a": 0.2, "b": 0.8}, members={"a": 3, "b": 1})
    assert sampler.propose(space, sampler.start(space)[1], seen).cumulative == {"all layers": pytest.approx(0.35)}
