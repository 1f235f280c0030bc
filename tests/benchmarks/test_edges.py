"""benchmarks/edges.py: its models are what they say, and its page tells what is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def edges(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module."""
    monkeypatch.syspath_prepend(FOLDER)
    import edges

    return edges


def test_what_is_chosen_depends_on_the_consumers_work(edges: Any) -> None:
    assert edges.chosen(edges.Case("1x1", 48, 16, 8), 24) == "dense"
    assert edges.chosen(edges.Case("3x3", 48, 16, 8), 24) == "slice"


def test_the_page_of_one_case(edges: Any) -> None:
    case = edges.Case("3x3", 64, 16, 4)
    widths = {case.width(share, grain) for share in edges.RETENTIONS for grain in edges.GRAINS} - {64}
    times = {(way, width): width / 64 for width in widths for way in edges.WAYS} | {("dense", 64): 1.0}
    page = edges.report({case: times}, 10, 1)
    rows = [line for line in page.splitlines() if line.startswith("| 3x3")]
    assert len(rows) == 4
    assert rows[0].endswith("| 58 | 0.91 | 0.91 | 0.91 | 64 | 1.00 | 1.00 | 1.00 | 64 | 1.00 | 1.00 | 1.00 | dense |")
    assert rows[2].endswith("| 32 | 0.50 | 0.50 | 0.50 | slice |")
    assert "faster of cut and dense in\n  3 of 3 rows" in page
