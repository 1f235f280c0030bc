from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis import analyze
from chanc.rewriter import rewrite
from chanc.rewriter.importance import Gathered, Moments
from chanc.runs import read_run
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.trial.taylor import Taylor
from chanc.study.space import Limits, SearchGroup, Space
from chanc.study.study import search, space_of
from chanc.testing.graphs import Graph
from chanc.testing.samplers import ChainPrice, SamplerContract, example_space


class TestTaylorContract(SamplerContract):
    def sampler(self, **options: int) -> Taylor:
        return Taylor(**{"trials": self.trials, **options})


class TestFreshContract(SamplerContract):
    def sampler(self, **options: int) -> Taylor:
        return Taylor(**{"trials": self.trials, "fresh": True, **options})


def flat_space(**costs: int) -> Space:
    """Groups of 32 channels, whose params are so many a channel and whose MACs are the same for all."""

    def price(widths) -> ChainPrice:
        return ChainPrice(sum(costs[name] * widths.get(name, 32) for name in costs), 100 * sum(widths.values()))

    return Space(tuple(SearchGroup(name, 32) for name in costs), price)


def told(space: Space, widths, **totals: float) -> Measurement:
    """Each group's effects add up to its total, in equal parts; one that isn't named has none."""
    taken = {}
    for name, total in totals.items():
        effect = np.full(widths[name], total / widths[name])
        taken[name] = Moments(effect, effect, effect**2)
    return Measurement(0, dict(widths), {}, score=0.5, evidence=Gathered(1, {}, taken, {}))


def after(sampler: Taylor, space: Space, turns: int = 1, **totals: float):
    """The widths after some trials with the same effects."""
    widths, state = sampler.start(space)
    for _ in range(turns):
        proposal = sampler.propose(space, state, told(space, widths, **totals))
        widths, state = proposal.widths or {}, proposal.state
    return widths


def test_channels_go_where_the_loss_hangs_on_them_at_equal_cost() -> None:
    space = flat_space(a=10, b=10, c=10)
    widths = after(Taylor(round_to=1, trials=2), space, a=1.0, b=1.0, c=9.0)
    assert widths["c"] > 32 > widths["a"]
    assert sum(widths.values()) == 96


@pytest.mark.parametrize(
    ("effects", "shares"), [((1, 1, 16), (1, 1, 4)), ((4, 1, 1), (2, 1, 1)), ((1, 1, 1), (1, 1, 1))]
)
def test_it_ends_where_widths_are_as_the_roots_of_effects(effects, shares) -> None:
    """Neyman's allocation: the widths of least sum of T / n at that cost."""
    space = flat_space(a=10, b=10, c=10)
    totals = dict(zip("abc", map(float, effects), strict=True))
    widths = after(Taylor(round_to=1, min_width=1, move=1.0, trials=40), space, turns=5, **totals)
    wanted = 96 * np.array(shares) / sum(shares)
    assert np.abs(np.array(list(widths.values())) - wanted).max() <= 1


def test_what_costs_more_has_to_be_worth_more() -> None:
    space = flat_space(a=10, b=40)
    widths = after(Taylor(round_to=1, min_width=1, move=1.0, trials=40), space, turns=5, a=1.0, b=1.0)
    assert widths["a"] / widths["b"] == pytest.approx(2, rel=0.1)
    assert 0.97 * 1600 <= space.count(widths, "params") <= 1600
    macs = after(Taylor(round_to=1, min_width=1, move=1.0, trials=40, equal="macs"), space, turns=5, a=1.0, b=1.0)
    assert macs == {"a": 32, "b": 32}


def test_targets_say_what_all_trials_cost() -> None:
    """One that is given counts in the place of `equal`; of two, neither is exceeded."""
    space = flat_space(a=10, b=40)
    options = {"round_to": 1, "min_width": 1, "move": 1.0, "trials": 40}
    assert after(Taylor(target_macs=6400, **options), space, turns=5, a=1.0, b=1.0) == {"a": 32, "b": 32}
    both = after(Taylor(target_macs=6400, target_params=1600, **options), space, turns=5, a=9.0, b=1.0)
    assert space.count(both, "macs") <= 6400
    assert space.count(both, "params") <= 1600
    assert both["a"] > 32


def test_less_and_less_changes_hands() -> None:
    space = flat_space(a=10, b=10)
    sampler = Taylor(round_to=1, min_width=1, trials=5, move=0.2)
    widths, state = sampler.start(space)
    moved = []
    for _ in range(5):
        # Whoever has more is worth less, far beyond what any exchange evens out.
        low, high = sorted(widths, key=lambda name: widths[name])
        proposal = sampler.propose(space, state, told(space, widths, **{low: 1000.0, high: 1.0}))
        moved.append(abs(proposal.widths[low] - widths[low]))
        widths, state = proposal.widths, proposal.state
    assert moved[0] > moved[2] > moved[4] == 0


def test_the_cost_stays_that_of_the_first_trial() -> None:
    space, sampler = example_space(), Taylor(round_to=2)
    widths, state = sampler.start(space)
    cost = space.count(widths, "params")
    for trial in range(8):
        effects = {name: float(np.random.default_rng([trial, k]).uniform(0.1, 10)) for k, name in enumerate(widths)}
        seen = told(space, widths, **effects)
        seen = dataclasses.replace(seen, evidence=dataclasses.replace(seen.evidence, taken={
            group.id: Moments(*(row[: widths[group.id] // group.step] for row in dataclasses.astuple(moments)))
            for group in space.resizable for moments in [seen.evidence.taken[group.id]]}))  # fmt: skip
        proposal = sampler.propose(space, state, seen)
        widths, state = proposal.widths, proposal.state
        assert 0.9 * cost <= space.count(widths, "params") <= cost


def test_groups_of_which_nothing_is_known_stay() -> None:
    space = flat_space(a=10, b=10, c=10)
    assert after(Taylor(round_to=1), space, a=1.0, b=9.0)["c"] == 32
    assert after(Taylor(round_to=1), space) == {"a": 32, "b": 32, "c": 32}


def test_an_epoch_each_after_the_first_trial() -> None:
    space = flat_space(a=10, b=10)
    for fresh, epochs in ((False, [None, 1, 1]), (True, [None, None, None])):
        sampler = Taylor(trials=3, fresh=fresh)
        state, found = sampler.begin(space), []
        for _ in range(3):
            (trial,), state = sampler.ask(space, state, 1)
            found.append(trial.epochs)
            state = sampler.tell(space, state, trial, told(space, trial.decision.widths, a=1.0, b=2.0)).state
        assert found == epochs
        assert sampler.ask(space, state, 1)[0] == []


def test_the_answer_is_what_was_trained_last() -> None:
    space, sampler = flat_space(a=10, b=10), Taylor(round_to=1)
    widths, state = sampler.start(space)
    proposal = sampler.propose(space, state, told(space, widths, a=1.0, b=9.0))
    assert sampler.best(proposal.state) == widths != proposal.widths
    assert sampler.limits == Limits(4, 4096, 1)


def test_a_search(digits_model: Path, tmp_path: Path) -> None:
    """Evidence is gathered of each trial, and goes to the next one; a resumed search says the same."""
    chanc = pytest.importorskip("chanc.api")
    pytest.importorskip("torch")
    train = {"batch_size": 64, "device": "cpu"}
    asked = {"algo": "taylor", "data": "digits", "epochs": 1, "limit_train": 300, "train": train}
    run = chanc.search(digits_model, out=tmp_path / "run", trials=3, **asked)
    first, *later = run.trials
    assert all(0.9 * first.params <= trial.params <= first.params for trial in later)
    assert any(trial.decision.widths != first.decision.widths for trial in later)
    assert dict(run.widths) == dict(later[-1].decision.widths)
    for trial in run.trials:
        found = Gathered.load((run.path / trial.file).with_name("evidence.npz"))
        assert {name: found.effect(name).absolute.size for name in found.taken} == dict(trial.decision.widths)
    again = chanc.search(digits_model, out=tmp_path / "run", trials=3, resume=True, **asked)
    assert read_run(again.path).events == read_run(run.path).events


def test_evidence_that_is_none_is_told(digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chanc = pytest.importorskip("chanc.api")
    pytest.importorskip("torch")
    monkeypatch.setattr(Gathered, "save", lambda self, path: path.write_bytes(b"no arrays"))
    with pytest.raises(chanc.ChancError, match=r"the evidence of trial 1 can't be read"):
        chanc.search(digits_model, algo="taylor", data="digits", epochs=1, limit_train=100, trials=2,
                     out=tmp_path / "run", train={"batch_size": 64, "device": "cpu"})  # fmt: skip


def starved(counter: str, victim: int) -> tuple[ir.Model, str, int]:
    """Six convolutions, one of them at a quarter of its width, the others wider for it, at equal cost; its group."""
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"})
    for width, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        x = x.conv(width, stride=stride).bn().relu()
    model = graph.ir(x.gap().flatten().gemm(10))
    space = space_of(analyze(model))
    name, usual = list(space.widths.items())[victim]
    cost, factor = space.count(space.widths, counter), 1.0
    widths = {**space.widths, name: usual // 4}
    while space.count(widths, counter) < cost:
        factor += 0.01
        widths = {gid: usual // 4 if gid == name else round(factor * size) for gid, size in space.widths.items()}
    return rewrite(model, widths).model, name, usual


@pytest.mark.nightly
@pytest.mark.parametrize(("counter", "victim"), [("params", 3), ("params", 1), ("macs", 1), ("macs", 3)])
def test_a_starved_group_regains_half_of_what_it_lacks_in_ten_trials(
    tmp_path: Path, counter: str, victim: int
) -> None:
    """In four of five seeds at least."""
    pytest.importorskip("torch")
    model, name, usual = starved(counter, victim)
    options = {"min_width": 2, "round_to": 1, "equal": counter}
    found = [
        search(model, algo="taylor", data="digits", trials=10, epochs=2, seed=seed, options=options,
               out=tmp_path / str(seed), train={"batch_size": 64, "device": "cpu"}).widths[name]
        for seed in range(5)
    ]  # fmt: skip
    assert sum(width >= usual / 4 + usual * 3 / 8 for width in found) >= 4, found
