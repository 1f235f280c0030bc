from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chanc.cli import main
from chanc.testing import toy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fsck") / "run"
    toy.search(place)
    return place


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def fsck(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        main(["fsck", *map(str, words)])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_sound_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = fsck(capsys, run)
    assert (code, err) == (0, "")
    assert out.endswith(" ok\n")
    assert out.count("\n") == 1


def test_damage_is_told_and_mended(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "trials/001/model.onnx").write_text("other")
    (run / ".chanc-dead.json").write_text("half")
    code, out, err = fsck(capsys, run)
    assert code == 1
    assert "damaged   trials/001/model.onnx  trial 2 is trained again\n" in out
    assert "leftover  .chanc-dead.json  of a writer that was killed\n" in out
    assert f"{run}: 1 damaged; `chanc fsck {run} --mend` mends 1 of them" in err
    code, out, err = fsck(capsys, run, "--mend")
    assert (code, err) == (0, "")
    assert out.endswith("mended: 2\n")
    assert fsck(capsys, run)[0] == 0
    toy.search(run)
    assert fsck(capsys, run)[1].endswith(" ok\n")


def test_what_nothing_mends_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "input.onnx").write_text("other")
    assert fsck(capsys, run)[0] == 1
    code, _, err = fsck(capsys, run, "--mend")
    assert code == 1
    assert "1 can't be mended: input.onnx: put the model that the run was begun with back as input.onnx" in err


def test_what_is_left_over_is_no_damage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "trials/002/.chanc-dead.onnx").write_text("half")
    code, out, _ = fsck(capsys, run)
    assert code == 0
    assert f"`chanc fsck {run} --mend` removes what is left over\n" in out
    assert fsck(capsys, run, "--mend")[0] == 0
    assert not (run / "trials/002/.chanc-dead.onnx").exists()


def test_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chanc.training.checkpoint import save_state

    path = tmp_path / "state.safetensors"
    save_state(path, {"n": 1})
    assert fsck(capsys, path)[:2] == (0, "1 ok\n")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for words in ([path], [path, "--mend"]):
        code, out, err = fsck(capsys, *words)
        assert code == 1
        assert out.startswith("damaged   state.safetensors  it is no checkpoint, or not what was written: train again")
        assert err.startswith(f"chanc: {path}: 1 ")
        assert path.exists()


def test_a_sweep(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chanc.runs.seal import write_sealed
    from chanc.runs.sweeps import CellResult, write_cell

    folder = run.parent / "sweep"
    folder.mkdir()
    write_sealed(folder / "sweep.json", {"format": 2})
    shutil.move(run, folder / "greedy-seed0")
    write_cell(folder / "greedy-seed0", CellResult("greedy-seed0", "greedy"))
    assert fsck(capsys, folder)[0] == 0
    cell, model = folder / "greedy-seed0/cell.json", folder / "greedy-seed0/trials/000/model.onnx"
    cell.write_text(cell.read_text().replace("greedy", "greedz"))
    model.write_text("other")
    code, out, _ = fsck(capsys, folder)
    assert code == 1
    assert "damaged   greedy-seed0/cell.json  its checksum is another one\n" in out
    assert "damaged   greedy-seed0/trials/000/model.onnx  trial 1 is trained again\n" in out
    assert fsck(capsys, folder, "--mend")[0] == 0
    assert not cell.exists()


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = fsck(capsys, tmp_path / "missing")
    assert (code, err) == (1, f"chanc: {tmp_path}/missing does not exist\n")
