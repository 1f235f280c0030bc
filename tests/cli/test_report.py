from __future__ import annotations

import json

import pytest

from chanc.cli import main


def run(*args):
    try:
        main(["report", *map(str, args)])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def folder(tmp_path):
    epochs = [{"epoch": 0, "top1": 0.5, "loss": 1.0, "metrics": {}}]
    cost = {"params": 1000, "macs": 9000, "top1": 0.5, "epochs": epochs}
    lines = [{"trial": n, "widths": {"a.weight": 16 + n, "b.weight": 32 - n}, **cost} for n in range(3)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"settings": {"algo": "greedy"}}')
    (tmp_path / "run" / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "run"


def test_the_page_is_written(folder, capsys):
    assert run(folder) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'report.html'}\n"
    assert "a.weight" in (folder / "report.html").read_text()


def test_pictures(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert run(folder, "--png", tmp_path / "pictures") == 0
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {
        "widths.png", "widths-log.png", "widths-map.png", "trials-params.png", "trials-macs.png",
        "training-top1.png", "training-loss.png",
    }  # fmt: skip
    assert f"wrote 7 pictures into {tmp_path / 'pictures'}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_run_is_one_clear_line(tmp_path, capsys, kind):
    target = tmp_path / kind
    if kind == "file":
        target.write_text("text")
    elif kind == "empty":
        target.mkdir()
    assert run(target) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"chanc: {target} is not a run directory: ")


def test_a_damaged_log_is_one_clear_line(folder, capsys):
    (folder / "trials.jsonl").write_text("rubbish\n{}\n")
    assert run(folder) == 1
    assert capsys.readouterr().err == f"chanc: {folder / 'trials.jsonl'} is damaged: line 1 is not JSON\n"
    assert not (folder / "report.html").exists()
