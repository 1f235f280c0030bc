"""The rows and the picture of a sensitivity."""

from __future__ import annotations

from pathlib import Path

import pytest

from chanc.measuring.sensitivity import Curve, Planned, Point, Sensitivity
from chanc.report.plots import HeatMap, Plot
from chanc.report.sensitivity import draw, heads, plot, rows


def sensitivity(groups: int, name: str = "w") -> Sensitivity:
    """Losses of 1 + the group's number at half of 8 channels, and twice that at a quarter; the last one has none."""
    curves = [
        Curve(f"{name}{k}", 8, (Point(4, (0, 1, 2, 3), 2.0 + k, 0.5), Point(2, (0, 1), 3.0 + 2 * k, 0.4)))
        for k in range(groups)
    ]
    planned = Planned(1.0, {f"{name}0": (0, 1, 2, 3)}, 2.0, 0.5, (10, 8), (10, 8))
    return Sensitivity(1.0, 0.9, "top1", 64, (0.25, 0.5), "taylor", "", (*curves, Curve("odd", 8, (), "why")), planned)


def test_rises_stand_under_their_ratios() -> None:
    found = sensitivity(2)
    assert heads(found) == ["loss rises by, at", "width", "0.5", "0.25", "plan"]
    assert list(rows(found)) == [["w0", "8", "+1", "+2", "4"], ["w1", "8", "+2", "+4", "-"]]


def test_few_groups_are_lines_up_to_the_whole_model() -> None:
    drawn = plot(sensitivity(2))
    assert isinstance(drawn, Plot)
    assert [(line.name, line.x, line.y) for line in drawn.series] == [
        ("w0", (0.25, 0.5, 1.0), (3.0, 2.0, 1.0)), ("w1", (0.25, 0.5, 1.0), (5.0, 3.0, 1.0)),
    ]  # fmt: skip
    assert [line.value for line in drawn.references] == [2.0]


def test_many_groups_are_a_map() -> None:
    drawn = plot(sensitivity(13))
    assert isinstance(drawn, HeatMap)
    assert (drawn.columns, drawn.rows[0], drawn.values[0]) == ([0.5, 0.25], "w0", [2.0, 3.0])


def test_names_that_matplotlib_would_read_otherwise_are_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = draw(sensitivity(2, name="_$x^{"), tmp_path / "s.svg")
    assert path.read_text().startswith("<?xml")
