"""benchmarks/coverage.py: every cell is what was run, and a run that was stopped goes on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from chanc.testing.graphs import Graph

pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    """The script as a module, by a name that no package has."""
    spec = importlib.util.spec_from_file_location("chanc_coverage", BENCHMARKS / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["chanc_coverage"] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    yield module
    del sys.modules["chanc_coverage"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, a network with a norm across channels, and one that nothing can run."""
    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 8, 8], dynamic={0: "n"}).conv(8).relu().conv(8).relu()
    onnx.save(graph.model(graph.op("GlobalAveragePool", x).flatten().linear(5)), folder / "classifier.onnx")
    graph = Graph(opset=17)
    x = graph.input("x", [1, 5, 6], dynamic={0: "n"}).linear(8)
    x = graph.op("LayerNormalization", x, graph.vector(8, 0.5, 1.5), graph.vector(8))
    onnx.save(graph.model(x.linear(12).relu().linear(4)), folder / "normed.onnx")
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu().conv(5)
    strange = graph.node("Frobnicate", [x], shapes=[(1, 5, 4, 4)], domain="my.domain")[0]
    onnx.save(graph.model(strange), folder / "strange.onnx")
    return folder


def test_a_classifier_passes_everywhere(coverage: ModuleType, models: Path) -> None:
    row = coverage.examine(models / "classifier.onnx")
    assert (row["free_groups"], row["groups"]) == (2, 4)
    for part in ("half", "widen"):
        assert row[part]["exact"] == 2
        assert row[part]["error"] < 1e-5
    assert row["codegen"]["error"] < 1e-5
    assert row["training"]["task"] == "classification"
    assert row["training"]["reached"] == row["training"]["parameters"] == 6
    assert not any(row[part]["fault"] for part in coverage.PARTS)


@pytest.mark.nightly
def test_groups_under_a_norm_are_counted_as_doubled(coverage: ModuleType, models: Path) -> None:
    row = coverage.examine(models / "normed.onnx")
    assert (row["half"]["exact"], row["half"]["doubled"], row["half"]["untold"]) == (1, 1, 0)
    assert row["training"]["task"] == "matching"
    assert not row["training"]["fault"]


@pytest.mark.nightly
def test_what_fails_is_told(coverage: ModuleType, models: Path) -> None:
    row = coverage.examine(models / "strange.onnx")
    assert all("Frobnicate" in row[part]["fault"] for part in coverage.PARTS)
    assert "Frobnicate" in "".join(coverage.coverage_page.notes_of(row))


@pytest.mark.nightly
def test_a_wrong_module_is_no_coverage(coverage: ModuleType, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = coverage.load_file
    monkeypatch.setattr(coverage, "load_file", lambda path: {key: 1.1 * value for key, value in load(path).items()})
    row = coverage.examine(models / "classifier.onnx")
    assert row["codegen"]["error"] > 1e-2
    assert not coverage.coverage_page.equal(row)


def test_a_run_goes_on_where_it_was_stopped(
    coverage: ModuleType,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[str] = []

    def alone(path: Path) -> dict[str, object]:
        measured.append(path.stem)
        return dict(coverage.asdict(coverage.Row(path.stem, "small", fault="not now")))

    def run(*more: str) -> list[str]:
        measured.clear()
        monkeypatch.setattr(sys, "argv", ["coverage.py", "--models", str(models), "--rows", str(rows), "--out",
                                          str(tmp_path / "page.md"), *more])  # fmt: skip
        coverage.main()
        return list(measured)

    monkeypatch.setattr(coverage, "alone", alone)
    rows = tmp_path / "rows.jsonl"
    assert run() == ["classifier", "normed", "strange"]
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:2]))
    assert run() == ["strange"]
    assert run("--only", "c*") == ["classifier"]
    assert run() == []
    assert (tmp_path / "page.md").read_text().count("refused | refused | no | no") == 3
    assert "[1/1] classifier" in capsys.readouterr().out


@pytest.mark.nightly
def test_without_models_one_line_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "coverage.py", "--models", tmp_path / "none"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "name folders of models by --models" in done.stderr
