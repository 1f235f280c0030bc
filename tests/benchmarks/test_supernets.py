"""benchmarks/supernets.py without a search: what is left to do, the options, what a step holds, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chanc.study.methods.registry import make

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module."""
    monkeypatch.syspath_prepend(FOLDER)
    import supernets

    return supernets


def row(arm: str, seed: int, widths: tuple[int, ...], score: float, **costs: float) -> dict[str, Any]:
    """A line, as made up."""
    own = dict(zip("abcd", (8, 8, 16, 24), strict=True))
    return {"arm": arm, "seed": seed, "own": own, "widths": dict(zip("abcd", widths, strict=True)), "score": score,
            "goal": 1000, "expected": [1500.0, 1020.0, 1010.0], "cpu_s": 60.0, "search_s": 10.0, "executed": 4e9,
            "held": 2e6, **costs}  # fmt: skip


def test_what_has_a_row_is_not_done_again(bench: Any) -> None:
    assert list(bench.left([row("b", 0, (1, 2, 3, 4), 0.5)], ["a", "b"], 2)) == [("a", 0), ("a", 1), ("b", 1)]


def test_arms_are_methods_and_the_two_that_are_compared_differ_in_their_choices_only(bench: Any) -> None:
    made = {name: make(arm.algo, **arm.options) for name, arm in bench.ARMS.items()}
    alike = ("split", "turns", "mask_mode", "step", "round_to", "min_width", "max_width", "cost_weight")
    for net, (flex, dmask) in bench.COMPARED.items():
        assert all(getattr(made[flex], name) == getattr(made[dmask], name) for name in alike)
        assert bench.ARMS[flex].net == bench.ARMS[dmask].net == net
        assert made[dmask].tau * made[dmask].decay ** bench.NETS[net].epochs == pytest.approx(5.0 * 0.956**50)
    assert made["lambda 0, from a quarter"].cost_weight == 0
    assert {arm.start for arm in bench.ARMS.values()} == {0.25, 1.0, 4.0}


def test_what_a_step_holds_grows_with_the_widths(bench: Any, tmp_path: Path) -> None:
    """Of twice the channels activations are twice, weights four times as many: in between."""
    pytest.importorskip("torch")
    from chanc.analysis import analyze
    from chanc.ir import load

    own = bench.network(tmp_path, "residual")
    widths = {group.id: group.size for group in analyze(load(own)).groups if group.resizable}
    assert len(widths) == 8
    side = bench.NETS["residual"].side
    one, two = (bench.held(bench.resized(own, {name: k * width for name, width in widths.items()}, 0), side)
                for k in (1, 2))  # fmt: skip
    assert 2 < two / one < 4
    batch, pixels = bench.BATCH, (side // 2) ** 2
    assert one > 4 * batch * pixels * (3 * 8 + 12)  # what the first stage's convolutions make, and more


def test_a_step_of_the_weights_is_timed_for_both(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from chanc.analysis import analyze
    from chanc.ir import load

    monkeypatch.setattr(bench, "TURNS", 1)
    own = bench.network(tmp_path, "residual")
    widths = {group.id: group.size for group in analyze(load(own)).groups if group.resizable}
    rows = [{"arm": arm, "seed": 0, "high": widths} for arm in bench.COMPARED["residual"]]
    found = bench.steps(rows, "residual", 1, tmp_path)
    assert (found["arm"], found["seed"], len(found["ms"]), len(found["ratios"])) == ("steps", 1, 2, 1)
    assert min(found["ms"]) > 0


def test_the_page(bench: Any) -> None:
    from supernets_page import page

    quarter, four = (f"to the target, from {name}" for name in bench.STARTS)
    rows = [row(quarter, 0, (1, 2, 3, 4), 0.80), row(four, 0, (1, 2, 4, 3), 0.82),
            row(quarter, 1, (1, 2, 3, 4), 0.82), row(four, 1, (1, 2, 3, 4), 0.81),
            row("dmask", 0, (2, 2, 2, 2), 0.80, search_s=16.0, held=3e6), row("dmask", 1, (2, 2, 2, 3), 0.81,
            search_s=14.0, held=3.2e6),
            {"arm": "steps", "seed": 4, "ms": [10.0, 20.0], "ratios": [2.0, 2.0], "cpu_s": 0.0}]  # fmt: skip
    text = page(rows)
    assert "rank correlation of the widths from a quarter and from four times 0.90 ± 0.10 (0.80, 1.00)" in text
    assert "accuracy -0.50% ± 1.50%, within two standard errors." in text
    assert "| 1.01 ± 0.00 | 2, 2 |" in text
    assert "| ratio | 2 | | **1.50 ± 0.10** (paper: 1.3 to 1.7) | **1.00 ± 0.00** | **1.55 ± 0.05** (paper" in text
    assert "| 4 | 10.0 | 20.0 | 2.00 ± 0.00 |" in text
    assert "took 6 minutes" in text
