"""The contract of trial methods that propose networks of equal cost and train the best ones on. Inherit it:

    class TestMine(HalvingContract):
        def method(self, **options): return Mine(**options)
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

from chanc.runs import State, Trial
from chanc.study.methods.halving import Halving
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.registry import make, options_of
from chanc.study.space import SearchGroup, Space
from chanc.testing.samplers import chain_price

Judge = Callable[[Trial], float | None]
"""The loss that a trial shows; None where it fails."""

SIZES = {"a": 16, "b": 32, "c": 64, "d": 24}


def fine_space() -> Space:
    """Four groups in a chain whose widths move one by one, one of them pinned."""
    groups = tuple(SearchGroup(gid, size, resizable=gid != "d") for gid, size in SIZES.items())
    return Space(groups, chain_price(tuple(SIZES), SIZES))


def narrow_middle(trial: Trial) -> float:
    """A made-up loss: the wider b is against a and c, the worse; more epochs make it better."""
    widths = trial.decision.widths
    return widths["b"] / (widths["a"] + widths["c"]) + 1.0 / (1 + (trial.epochs or 0))


def play(method: Halving, judge: Judge = narrow_middle, at_once: int = 1) -> tuple[list[Trial], State]:
    """All trials of a search whose state goes through JSON at every turn, and its last state."""
    space = fine_space()
    state = method.begin(space)
    trials: list[Trial] = []
    while True:
        asked, state = method.ask(space, json.loads(json.dumps(state)), at_once)
        if not asked:
            return trials, state
        for trial in asked:
            loss = judge(trial)
            seen = None if loss is None else Measurement(trial.id, trial.decision.widths, {}, loss=loss)
            state = method.tell(space, json.loads(json.dumps(state)), trial, seen).state
        trials += asked


class HalvingContract:
    """Tests for one method."""

    def method(self, **options: object) -> Halving:
        """Make the method under test, with `options` over the test's own."""
        raise NotImplementedError

    def test_all_networks_are_legal_and_cost_the_same(self) -> None:
        """Every new network has the model's own params, or what the target says; widths are inside the bounds."""
        space = fine_space()
        own = space.count(space.widths, "params")
        for options, target in (({}, own), ({"target_params": 20_000}, 20_000), ({"target_macs": "50%"}, own / 2)):
            method = self.method(trials=16, min_width=3, max_width=300, round_to=1, **options)
            for trial in play(method)[0]:
                widths = trial.decision.widths
                assert set(widths) == {"a", "b", "c"}
                assert all(3 <= width <= 300 for width in widths.values())
                assert abs(space.count(widths, "params") / target - 1) <= 0.01

    def test_the_first_two_are_uniform_and_flat(self) -> None:
        """What a search has to beat is in it."""
        first, second = play(self.method(trials=2, round_to=1))[0]
        assert dict(first.decision.widths) == fine_space().widths
        assert len(set(second.decision.widths.values())) <= 2
        assert max(second.decision.widths.values()) - min(second.decision.widths.values()) <= 1

    def test_as_many_trials_as_planned(self) -> None:
        """Ids count from 0 without gaps, one at a time or many at once."""
        for at_once in (1, 4):
            trials, _ = play(self.method(trials=14), at_once=at_once)
            assert [trial.id for trial in trials] == list(range(14))

    def test_many_at_once_are_different_networks(self) -> None:
        """Proposals that wait side by side aren't the same."""
        space, method = fine_space(), self.method(trials=8)
        asked, _ = method.ask(space, method.begin(space), 8)
        assert len({tuple(trial.decision.widths.values()) for trial in asked}) == 8

    def test_who_goes_on_was_among_the_best(self) -> None:
        """A later rung has eta times the epochs in all, the parent's weights, and the parent's widths."""
        method = self.method(trials=20, epochs=2, eta=3)
        trials, _ = play(method)
        further = [trial for trial in trials if trial.parent is not None]
        assert len(further) >= 5
        assert {trial.epochs for trial in further} == {4, 12}
        for trial in further:
            parent = trials[trial.parent or 0]
            assert (trial.decision, trial.transfer) == (parent.decision, "select")
            rivals = [one for one in trials[: trial.id] if one.epochs == parent.epochs]
            better = [one for one in rivals if narrow_middle(one) < narrow_middle(parent)]
            assert len(better) < len(rivals) / 3
        assert len({trial.parent for trial in further}) == len(further)

    def test_with_fresh_weights_who_goes_on_starts_anew(self) -> None:
        """A later rung is then trained for all its epochs."""
        trials, _ = play(self.method(trials=20, epochs=2, eta=3, fresh=True))
        further = [trial for trial in trials if trial.parent is not None]
        assert {(trial.epochs, trial.transfer) for trial in further} == {(6, "init"), (18, "init")}

    def test_the_answer_is_the_best_of_the_highest_rung(self) -> None:
        """Who was trained longest and best."""
        method = self.method(trials=20)
        trials, state = play(method)
        longest = max(trial.epochs or 0 for trial in trials)
        best = min((trial for trial in trials if trial.epochs == longest), key=narrow_middle)
        assert method.decision(state) == best.decision
        assert method.decision(method.begin(fine_space())) is None

    def test_same_seed_same_search_and_another_one_otherwise(self) -> None:
        """Trials depend on the seed and on what was told alone."""
        first, second, other = (play(self.method(trials=12, seed=seed))[0] for seed in (3, 3, 4))
        assert first == second
        assert first != other

    def test_a_longer_search_begins_like_a_shorter_one(self) -> None:
        """A search that is lengthened goes on as if it had always been planned so."""
        short, long = (play(self.method(trials=trials))[0] for trials in (9, 15))
        assert long[:9] == short

    def test_a_failed_network_does_not_go_on(self) -> None:
        """It is no answer, and the search goes on to its end."""
        method = self.method(trials=12)
        trials, state = play(method, lambda trial: None if trial.id % 2 else narrow_middle(trial))
        assert len(trials) == 12
        assert all(trial.parent is None or trial.parent % 2 == 0 for trial in trials)
        found = method.decision(state)
        assert found in [trial.decision for trial in trials if trial.id % 2 == 0]
        assert method.decision(play(method, lambda trial: None)[1]) is None

    def test_options_make_an_equal_method(self) -> None:
        """Options survive JSON."""
        method = self.method(seed=5, target_macs="50%")
        assert make(method.name, **json.loads(json.dumps(options_of(method)))) == method

    def test_ask_and_tell_keep_their_arguments(self) -> None:
        """The state that was handed in is still the one from before."""
        space, method = fine_space(), self.method(trials=6)
        state = method.begin(space)
        before = json.dumps(state)
        (trial, *_), after = method.ask(space, state, 2)
        assert json.dumps(state) == before
        kept = json.dumps(after)
        method.tell(space, after, trial, Measurement(trial.id, trial.decision.widths, {}, loss=1.0))
        assert json.dumps(after) == kept

    def test_new_networks_differ(self) -> None:
        """A search doesn't train the same network twice."""
        new = [trial for trial in play(self.method(trials=20, round_to=1))[0] if trial.parent is None]
        assert all(one.decision != two.decision for one, two in itertools.combinations(new, 2))
