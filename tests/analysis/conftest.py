from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chanc.analysis import Analysis, analyze
from chanc.backends import ort
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import Weight, build
from chanc.testing.plans import check_all

IMAGE = "float[N,3,8,8] x"
# Scales at which the widen oracle is asked, and at which all groups are resized together; the shrink oracle is at 0.5.
DAY = ((2.0,), (1.5,))
NIGHT = ((1.5, 2.0), (0.5, 1.5, 2.0))


@pytest.fixture(scope="session", params=[DAY, pytest.param(NIGHT, marks=pytest.mark.nightly)], ids=["day", "night"])
def idiom(request: pytest.FixtureRequest) -> Callable[..., Analysis]:
    """Build a model from text, compare the groups that may change with `groups` (size, step), run both oracles.

    `inexact` and (of the others) `unscalable` name the groups that are so, `pinned` gives a part of the reason of
    groups that stay (inputs and outputs of the graph go without saying). Inexact groups are resized, too: the model
    must still run.
    """

    def check(
        body: str,
        weights: Mapping[str, Weight],
        groups: Mapping[str, tuple[int, int]],
        *,
        inputs: str = IMAGE,
        outputs: str = "float y",
        inexact: set[str] = frozenset(),
        unscalable: set[str] = frozenset(),
        pinned: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Analysis:
        model = build(inputs, outputs, body, weights, **options)
        found = analyze(model)
        assert {g.id: (g.size, g.step) for g in found.groups if g.resizable} == dict(groups)
        assert {g.id for g in found.groups if g.resizable and not g.exact} == inexact
        unscaled = {g.id: g.exact for g in found.groups if g.resizable and not g.scalable}
        assert {name for name, exact in unscaled.items() if exact} <= unscalable <= unscaled.keys()
        for name, reason in (pinned or {}).items():
            assert reason in found.group(name).reason
        wider, together = request.param
        _oracles(model, found, wider)
        _all_groups(model, groups, together)
        return found

    return check


@pytest.fixture(params=[0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2, 3))], ids=str)
def check(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Random plans for a model, and the oracle that fits each: those of one seed by day, of three more at night."""
    return lambda model: check_all(model, request.param)


def _oracles(model: Any, found: Analysis, wider: tuple[float, ...]) -> None:
    shrinkable = [g for g in found.groups if g.resizable and g.exact and g.size > g.step]
    assert bool(check_shrink(model, scale=0.5).operands) == bool(shrinkable)
    widenable = [g for g in found.groups if g.resizable and g.exact and g.scalable]
    for scale in wider:
        trace = check_widen(model, scale=scale)
        assert bool(trace.operands) == any(old != new for old, new in trace.groups.values())
    assert bool(trace.operands) == bool(widenable), "twice as wide is always a change"


def _all_groups(model: Any, groups: Mapping[str, tuple[int, int]], scales: tuple[float, ...]) -> None:
    """Every group at once, inexact ones as well: the sizes are those asked for, and the model runs."""
    for scale in scales:
        result = rewrite(model, scale=scale, transfer="select")
        for name, (size, step) in groups.items():
            new = result.trace.groups[name][1]
            assert new % step == 0
            assert abs(new - max(size * scale, step)) < step
        ort.run(result.model, ort.random_feeds(model))
