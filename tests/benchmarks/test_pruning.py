"""benchmarks/pruning.py: works in turn, the stages of a rewrite, and what its page says of a tool that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import chanc
from chanc.testing.graphs import Graph

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


def test_works_run_in_turn_until_they_took_too_long_or_fail() -> None:
    from turns import Runs, Times, in_turn

    said: list[str] = []

    def work(name: str, fails: bool = False) -> Callable[[], Callable[[], object]]:
        def timed() -> None:
            said.append(name)
            if fails:
                raise ValueError("no such layer\nand more")

        return lambda: timed

    found = in_turn({"a": work("a"), "b": work("b", fails=True), "c": work("c")}, 2, 1.0)
    assert said == ["a", "b", "c", "a", "c", "a", "c"]
    assert [len(runs.times) for runs in found.values()] == [3, 0, 3]
    assert found["b"].error == "ValueError: no such layer"
    assert not Runs([Times(0.1, 0.6), Times(0.1, 0.5)]).goes_on(1.0)
    assert Runs([Times(9.0, 9.0), Times(1.0, 2.0)]).column("cpu") == [2.0]


def test_every_stage_takes_its_share(tmp_path: Path) -> None:
    from stages import ANALYSIS, REWRITE, clocks, shares_of_analysis, shares_of_rewrite

    graph = Graph()
    x = graph.input("image", [1, 3, 8, 8])
    onnx.save(graph.model(x.conv(8).bn().relu().conv(4)), tmp_path / "m.onnx")
    before = chanc.load, chanc.save
    rewrite = shares_of_rewrite(tmp_path / "m.onnx", tmp_path / "out.onnx")
    analysis = shares_of_analysis(tmp_path / "m.onnx")
    assert list(rewrite) == [*REWRITE, "the rest"]
    assert list(analysis) == [*ANALYSIS, "the rest"]
    assert sum(rewrite.values()) == pytest.approx(1)
    assert min(rewrite.values()) > 0
    assert sum(analysis.values()) == pytest.approx(1)
    idle = {stage for stage, share in analysis.items() if share <= 0}
    assert idle == {"sizes read through"}  # no node here computes any
    assert (chanc.load, chanc.save) == before
    with clocks(REWRITE) as spent:
        chanc.load(tmp_path / "m.onnx")
    assert [stage for stage, seconds in spent.items() if seconds] == ["opening"]


def test_the_page_has_medians_with_their_spread_and_says_why_a_tool_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import pruning_page
    from pruning_page import Found
    from turns import Runs, Times

    monkeypatch.setattr(pruning_page, "version", lambda name: "1")
    runs: dict[str, Any] = {
        key: Runs([Times(9, 9), Times(scale, scale), Times(2 * scale, 2 * scale), Times(3 * scale, 3 * scale)])
        for key, scale in {"opened": 1, "groups": 1, "depend": 10, "memory": 1, "file": 1, "onnxsim": 4}.items()
    }
    runs["step"] = Runs([], "IndexError: index 8 is out of bounds")
    found = Found(7, runs, {"chanc": (2, 2), "onnxsim": (1, 2)}, {"opening": 0.25}, {"rules": 0.5})
    page = pruning_page.page({"net": found}, "command")
    assert "| net | 7 | 2.000 (1.000–3.000) | 2.000 (1.000–3.000) | 20.000 (10.000–30.000) | 10.0 (3.3–30.0);" in page
    assert "| net | 2.000 (1.000–3.000) | 8.000 (4.000–12.000) | 4.0 (1.3–12.0); 4.0 (1.3–12.0) |" in page
    assert "| net | 2.000 (1.000–3.000) | fails (1) | - |" in page
    assert page.endswith("| net | 2 of 2 | 1 of 2 | - |\n\n(1) IndexError: index 8 is out of bounds\n")
    assert "| net | 25% |" in page
    assert "| net | 50% |" in page
