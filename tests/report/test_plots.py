from __future__ import annotations

from chanc.report.plots import scaled


def test_scaled_counts():
    assert scaled(21282122) == (1e6, "millions")
    assert scaled(999) == (1.0, "")
    assert scaled(1.2e9) == (1e9, "billions")
