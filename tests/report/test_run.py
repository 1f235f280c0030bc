from __future__ import annotations

import json
import re
import sys

import pytest

from chanc import runs as room
from chanc.errors import MissingDependencyError, ModelError, RunError
from chanc.report import run as report_run
from chanc.report.run import write_images, write_report
from chanc.runs import Decision, ErrorEvent, TrialEvent


def data_of(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.S).group(1))


def test_one_file_that_needs_nothing_else(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run")
    page = write_report(folder)
    assert page == folder / "report.html"
    text = page.read_text()
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|iframe)\b|@import|\burl\((?!#)|\bfetch\(|XMLHttpRequest|\bsrc=", text)
    assert "default-src 'none'" in text
    assert len(text) < 600_000


def test_the_head_of_a_masking_search_has_its_memory(runs, tmp_path):
    facts = dict(data_of(write_report(runs.write_masked_run(tmp_path / "run", units=3, epochs=4)))["report"]["facts"])
    assert (facts["epochs trained"], facts["peak memory"]) == ("4", "903 MiB")


def test_the_head_says_what_was_run(runs, tmp_path):
    report = data_of(write_report(runs.write_run(tmp_path / "run")))["report"]
    assert report["command"] == "chanc search r34.onnx --algo sa"
    facts = dict(report["facts"])
    assert facts["trials"] == "35 of 35"
    assert facts["algo"] == "sa"
    assert facts["time"] == "1,082 s: training 1,068, everything else 14 (1.3%: rewrite 14.0)"
    assert [row[0] for row in report["tables"][0]["rows"]] == [
        "found", "baseline", "uniform at equal params", "uniform at equal MACs", "random at equal params",
    ]  # fmt: skip
    assert len(report["verdict"]) == 5
    assert report["verdict"][-1].startswith("Rank correlation with the held-out score over 35 trials: QC +0.9")
    assert report["warnings"] == []
    assert ["settings.sampler.alpha", "5.0"] in report["settings"]


def test_a_command_is_quoted_for_the_shell(runs, tmp_path):
    words = ["chanc", "search", "a b.onnx;rm"]
    folder = runs.write_run(tmp_path / "run", groups=3, trials=2, settings={"command": words})
    assert data_of(write_report(folder))["report"]["command"] == "chanc search 'a b.onnx;rm'"


def test_failed_trials_are_named(tmp_path):
    run = room.create(tmp_path / "run", {}, {})
    run.append(TrialEvent(0, Decision({"a": 4}), 1, 1, 0.4, 1.0))
    run.append(ErrorEvent(1, Decision({"a": 8}), "diverged"))
    run.append(ErrorEvent(2, Decision({"a": 8}), "odd", skipped=True))
    facts = data_of(write_report(run.path))["report"]["facts"]
    assert ["failed trials", "1"] in facts
    assert ["skipped trials", "2"] in facts


def test_a_run_that_has_only_begun(tmp_path):
    room.create(tmp_path / "run", {"algo": "greedy"}, {})
    data = data_of(write_report(tmp_path / "run"))
    assert data["report"]["sections"] == []
    assert "no best.onnx" in data["report"]["no_graph"]


def test_a_best_model_that_cannot_be_read_is_said_not_raised(runs, tmp_path, monkeypatch):
    def refuse(path):
        raise ModelError("best.onnx is truncated")

    monkeypatch.setitem(sys.modules, "chanc.analysis", type(sys)("chanc.analysis"))
    sys.modules["chanc.analysis"].analyze = refuse
    folder = runs.write_run(tmp_path / "run", groups=3, trials=2)
    (folder / "best.onnx").write_bytes(b"rubbish")
    assert "best.onnx is truncated" in data_of(write_report(folder))["report"]["no_graph"]


def test_hostile_names_stay_data(runs, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    folder = runs.write_run(tmp_path / "run", groups=3, trials=3, rename={"layer1.0.conv1.weight": hostile})
    page = write_report(folder)
    assert "<script>alert" not in page.read_text()
    assert data_of(page)["report"]["sections"][1]["plots"][0]["series"][0]["name"] == hostile


def test_a_second_report_replaces_the_first(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=3)
    before = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == before
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "events.jsonl", "timing.jsonl", "report.html",
    }  # fmt: skip


def test_not_a_run(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_images(runs, tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(report_run, "_best_graph", lambda record: (report_graph(runs), ""))
    written = write_images(runs.write_run(tmp_path / "run", groups=20, trials=6), tmp_path / "pictures" / "new")
    assert {path.stem for path in written} >= {"widths", "widths-map", "final-params", "acceptance", "in_qc", "network"}
    for path in written:
        with image.open(path) as picture:
            pixels = numpy.asarray(picture.convert("L"))
        assert min(pixels.shape) > 300
        assert 0.005 < (pixels < 200).mean() < 0.9


def report_graph(runs):
    from chanc.report.visualizer import model_graph

    return model_graph(runs.resnet(6, prefix="$x_{$ "))


def test_images_without_matplotlib(runs, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name == "chanc.report.static"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'chanc\[report\]'"):
        write_images(runs.write_run(tmp_path / "run", groups=3, trials=2), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_the_report_needs_no_heavy_package(fresh, runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=2)
    code = (
        f"import sys; from chanc.report import write_report; write_report({str(folder)!r});"
        "heavy = {'torch', 'matplotlib', 'onnxruntime', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = fresh(code)
    assert done.returncode == 0, done.stderr
