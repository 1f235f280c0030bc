from __future__ import annotations

import pytest

from chanc.runs import Row, verdict


def rows(found: float, uniform: float, params: int = 1000, spread: float | None = None) -> list[Row]:
    return [Row("found", params, top1=found, top1_std=spread), Row("uniform", 1000, top1=uniform)]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (rows(0.9, 0.88), "Found widths beat uniform by 2.00 percentage points at equal params."),
        (rows(0.88, 0.9), "Found widths do not beat uniform: 2.00 percentage points lower at equal params."),
        (rows(0.9, 0.9), "Found widths are on a par with uniform at equal params."),
        (
            rows(0.9, 0.88, params=500),
            "Found widths beat uniform by 2.00 percentage points with 0.50 times its params.",
        ),
        (
            rows(0.9, 0.89, spread=0.02),
            "Found widths beat uniform by 1.00 percentage points (within the spread of 2.00) at equal params.",
        ),
        (
            rows(0.89, 0.9, spread=0.02),
            "Found widths do not beat uniform: 1.00 percentage points lower (within the spread of 2.00) "
            "at equal params.",
        ),
    ],
)
def test_the_verdict_is_honest(given: list[Row], sentence: str) -> None:
    assert verdict(given) == [sentence]


def test_no_verdict_without_found_or_without_accuracy() -> None:
    assert verdict([Row("baseline", top1=0.9)]) == []
    assert verdict([Row("found"), Row("uniform", top1=0.3)]) == []
    assert verdict([Row("found", top1=0.4), Row("uniform")]) == []
