from __future__ import annotations

import pytest

from chanc import runs
from chanc.cli import main
from chanc.runs import Decision, Epoch, TrialEvent


def run(*args):
    try:
        main(["report", *map(str, args)])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def folder(tmp_path):
    made = runs.create(tmp_path / "run", {"algo": "greedy"}, {})
    for n in range(3):
        decision = Decision({"a.weight": 16 + n, "b.weight": 32 - n})
        made.append(TrialEvent(n, decision, 1000, 9000, 0.5, 1.0, (Epoch(0, 1.0, 0.5),)))
    return made.path


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
    (folder / "events.jsonl").write_text("rubbish\n{}\n")
    assert run(folder) == 1
    said = f"chanc: {folder / 'events.jsonl'} is damaged: line 1: it is not JSON; see `chanc fsck {folder}`\n"
    assert capsys.readouterr().err == said
    assert not (folder / "report.html").exists()
