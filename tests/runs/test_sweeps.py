from __future__ import annotations

import json
from pathlib import Path

import pytest

from chanc.errors import RunError
from chanc.runs import Row
from chanc.runs.seal import read_sealed, write_sealed
from chanc.runs.sweeps import CellResult, read_asked, read_cell, write_cell

ROWS = {"found": Row("found", 10, 20, 0.5)}
CELL = CellResult("greedy-gamma0.5-seed1", "greedy", 1, 3, {"a": 8}, ROWS, {"gamma": 0.5})


def test_a_cell_comes_back_and_its_file_is_flat(tmp_path: Path) -> None:
    assert read_cell(tmp_path) is None
    write_cell(tmp_path, CELL)
    assert read_cell(tmp_path) == CELL
    assert read_sealed(tmp_path / "cell.json") == {
        "cell": CELL.cell, "algo": "greedy", "gamma": 0.5, "seed": 1, "trials": 3, "widths": {"a": 8},
        "rows": {"found": {"name": "found", "params": 10, "macs": 20, "top1": 0.5}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "it is not JSON"), ("[]", "it is no JSON object"), ("{}", "CellResult lacks 'cell'"),
     ('{"cell": "x", "algo": "y", "rows": {"found": {"top1": "high"}}}', "top1 is no number")],
)  # fmt: skip
def test_a_damaged_cell_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "cell.json").write_text(text)
    if why not in ("it is not JSON", "it is no JSON object"):
        with pytest.raises(RunError, match="its checksum is another one"):
            read_cell(tmp_path)
        write_sealed(tmp_path / "cell.json", json.loads(text))
    with pytest.raises(RunError, match=rf"cell\.json is damaged: {why}"):
        read_cell(tmp_path)


def test_what_was_asked(tmp_path: Path) -> None:
    assert read_asked(tmp_path) is None
    write_sealed(tmp_path / "sweep.json", {"model": "m.onnx"})
    assert read_asked(tmp_path) == {"model": "m.onnx"}
    (tmp_path / "sweep.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match="was made by an older chanc"):
        read_asked(tmp_path)
    (tmp_path / "sweep.json").write_text("3")
    with pytest.raises(RunError, match=r"sweep\.json is damaged"):
        read_asked(tmp_path)
