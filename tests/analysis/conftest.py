from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chanc.analysis import Analysis, analyze
from chanc.testing.oracles import check_shrink, check_widen


@pytest.fixture(scope="session")
def both_ways() -> Callable[..., Analysis]:
    """Both oracles at scales 0.5, 1.5 and 2, each with something to change; gives back the analysis."""

    def check(model: Any, *, widens: bool = True) -> Analysis:
        found = analyze(model)
        assert any(g.resizable and g.exact and g.size > g.step for g in found.groups), "nothing can change"
        assert check_shrink(model, scale=0.5).operands
        if widens:
            assert check_widen(model, scale=1.5).operands
            assert check_widen(model, scale=2.0).operands
        return found

    return check


@pytest.fixture(scope="session")
def widths() -> Callable[[Analysis], dict[str, tuple[int, int]]]:
    """Size and step of each group that may change, by its id."""
    return lambda analysis: {g.id: (g.size, g.step) for g in analysis.groups if g.resizable}
