from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "big_model.py"


@pytest.mark.parametrize("gigabytes", [0.1, pytest.param(3, marks=pytest.mark.nightly)])
def test_load_save_and_halve_hold_a_small_part_of_the_weights(
    gigabytes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    measure = runpy.run_path(str(SCRIPT), run_name="big_model")["measure"]
    peak = {what: row.mb for what, (row,) in measure(gigabytes, tmp_path, ["load", "check", "save", "half"]).items()}
    assert peak["load"] < 20
    assert peak["check"] < 40
    assert peak["save"] < 80
    assert peak["half"] < 150
