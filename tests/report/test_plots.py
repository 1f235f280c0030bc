from __future__ import annotations

import pytest

from chanc.report.plots import Axis, Plot, Series, scaled


def test_scaled_counts():
    assert scaled(21282122) == (1e6, "millions")
    assert scaled(999) == (1.0, "")
    assert scaled(1.2e9) == (1e9, "billions")


def test_between_cells_there_is_no_tick():
    pytest.importorskip("matplotlib")
    from chanc.report.static import _lines

    plot = Plot(
        "cells", "By cell", Axis("cells"), Axis("kept", "%"), [Series("kept", range(1, 4), [63, 53, 37], "#000000")]
    )
    assert all(float(tick).is_integer() for tick in _lines(plot, "").axes[0].get_xticks())


def test_long_titles_are_wrapped():
    pytest.importorskip("matplotlib")
    from chanc.report.static import TITLE_WIDTH, _lines

    plot = Plot("long", "", Axis("x"), Axis("y"), [Series("one", range(1, 3), [1, 2], "#000000")])
    lines = _lines(plot, "greedy, gamma 0.8, " * 10).axes[0].get_title().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= TITLE_WIDTH
