"""docs/extending: the table is true, and each example of its pages, in a package of a stranger's, does its thing."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import chanc
from chanc import data as datasets
from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.cli import main
from chanc.data import DATASETS
from chanc.frontends import FRONTENDS
from chanc.ir import load, save
from chanc.metrics.registry import METRICS
from chanc.ops.table import SPECS
from chanc.report.sections import PLOTS
from chanc.rewriter import IMPORTANCES, TRANSFERS
from chanc.rewriter.rules import REGISTRY as REWRITE
from chanc.runs import StateEvent, read_run
from chanc.study import METHODS
from chanc.tasks import TASKS
from chanc.testing.graphs import Graph
from chanc.testing.rules import RuleContract
from chanc.testing.samplers import SamplerContract

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "extending.md", *sorted((ROOT / "docs" / "extending").glob("*.md")))
TEXT = "".join(page.read_text() for page in PAGES)
FILES = dict(re.findall(r"```python\n# strange/(\w+)\.py\n(.*?)```", TEXT, re.DOTALL))
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| [")]
KINDS = ("operator", "transfer", "importance", "sampler", "masking method", "edge method", "frontend", "data set",
         "task", "metric", "plot")  # fmt: skip
TABLES = (SPECS, ANALYSIS, REWRITE, EMITTERS, TRANSFERS, IMPORTANCES, METHODS, FRONTENDS, DATASETS, TASKS, METRICS,
          PLOTS)  # fmt: skip
NAMES = {"transfers": "shaken", "importances": "spread", "frontends": "plain", "data": "stripes", "tasks": "sure",
         "metrics": "norm", "plots": "seconds"}  # fmt: skip
SMALL = {"batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package of the page, imported; afterwards nobody knows of it."""
    home = tmp_path_factory.mktemp("site")
    write(home)
    with contextlib.ExitStack() as stack:
        for table in TABLES:
            stack.enter_context(table.scratch())
        stack.callback(sys.path.remove, str(home))
        sys.path.insert(0, str(home))
        for name in FILES:
            importlib.import_module(f"strange.{name}")
        yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "strange"]:
        del sys.modules[name]


def write(home: Path) -> None:
    (home / "strange").mkdir()
    (home / "strange" / "__init__.py").write_text("")
    for name, source in FILES.items():
        (home / "strange" / f"{name}.py").write_text(source)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of the stripes."""
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8).relu().conv(12, stride=2).relu()
    save(graph.ir(x.gap().flatten().gemm(2)), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def widths(model: Any) -> dict[str, int]:
    return {group.id: group.size for group in chanc.analyze(model).groups if group.resizable}


def test_every_kind_has_a_place_a_test_and_an_example() -> None:
    assert [re.match(r"\[an? (.*?)\]\(extending/", row[0]).group(1) for row in ROWS] == list(KINDS)
    for row in ROWS:
        folders = [name for cell in row[1:3] for name in re.findall(r"`((?:chanc|tests)/[\w/]+)`", cell)]
        assert len(folders) == (5 if "operator" in row[0] else 2)
        assert all((ROOT / folder).is_dir() for folder in folders), folders
        assert f'[project.entry-points."{row[3].strip("`")}"]' in TEXT
    assert len(FILES) == len(KINDS)


def test_a_registry_imports_all_files_of_its_folder() -> None:
    """So that one file suffices."""
    for row in ROWS:
        group = row[3].strip("`")
        for table in (table for table in TABLES if table.group == group):
            assert len(table) > 0
        for folder in re.findall(r"`(chanc/[\w/]+)`", row[1]):
            package = folder.replace("/", ".")
            below = pkgutil.walk_packages([str(ROOT / folder)], f"{package}.")
            assert [module.name for module in below if module.name not in sys.modules] == []


@pytest.mark.nightly
def test_another_distribution_brings_all_of_it(tmp_path: Path) -> None:
    """By the entry points of the page; each table finds its own, whatever was asked before."""
    write(tmp_path)
    groups = tomllib.loads(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL).group(1))["project"]["entry-points"]
    info = tmp_path / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in groups.items()))  # fmt: skip
    own = ["stairs", "mask", "thin", *NAMES.values()]
    code = f"""
import runpy, sys
sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]
for table in runpy.run_path({__file__!r})["TABLES"]:
    print(table.what, sum("Gain" in key or key in {own!r} for key in table))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert found == {table.what: "3" if table is METHODS else "1" for table in TABLES}


class Gain(OpRun):
    """What the operator computes; it insists on its attribute."""

    op_domain = "strange"

    def _run(self, data, gain, channels=None):
        assert data.shape[1] == gain.size == channels
        return (data * gain[:, None, None],)


def gained() -> onnx.ModelProto:
    graph = Graph()
    x = graph.input("image", [2, 3, 8, 8]).conv(16)
    y = graph.node("Gain", [x, graph.vector(16, 1, 2)], shapes=[x.shape], domain="strange", channels=16)[0]
    return graph.model(y.relu().conv(4, 1))


class TestOperator(RuleContract):
    """It is understood, and keeps the contract of rules."""

    domain, operator = "strange", "Gain"

    def models(self):
        return [gained()]

    def run(self, model, feeds):
        return ReferenceEvaluator(model, new_ops=[Gain]).run(None, dict(feeds))

    def test_it_is_written_in_pytorch(self) -> None:
        from chanc.backends.torch import build

        half = chanc.rewrite(gained(), scale=0.5).model
        image = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
        found = build(half).module(torch.tensor(image)).detach().numpy()
        assert np.allclose(found, self.run(half, {"image": image})[0], atol=1e-5)


def test_transfer(model: Path) -> None:
    before = load(model).graph.initializers
    first, width = next(iter(widths(model).items()))
    after = chanc.rewrite(model, {first: width - 2}, transfer="shaken", importance="first").model
    weight, kept = (graph[first].const_value.numpy() for graph in (after.graph.initializers, before))
    assert weight.shape[0] == kept.shape[0] - 2
    off = np.abs(weight / kept[:-2] - 1)
    assert 0 < off.max() <= 0.0101


def test_importance(model: Path) -> None:
    first = next(iter(widths(model)))
    weight = load(model).graph.initializers[first].const_value.numpy()
    trace = chanc.rewrite(model, {first: 4}, importance="spread", transfer="select")
    kept = trace.model.graph.initializers[first].const_value.numpy()
    spread = weight.reshape(8, -1).std(axis=1)
    assert np.array_equal(kept, weight[np.sort(np.argsort(-spread)[:4])])


class TestSampler(SamplerContract):
    """It keeps the contract of samplers."""

    def sampler(self, **options: int) -> Any:
        return METHODS["stairs"](**{"trials": 4, "stair": 6, **options})


def test_a_search_by_a_strangers_method_on_its_data_for_its_task_by_its_metric_in_its_plot(
    model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = "--algo stairs --stair 6 --min-width 2 --data stripes --task sure --power 2 --metric norm"
    little = "--trials 2 --epochs 1 --batch-size 16 --device cpu --quiet"
    main(["search", str(model), *asked.split(), *little.split(), "--out", str(out)])
    record = read_run(out)
    first, second = record.trials
    assert first.decision.widths == widths(model)
    assert second.decision.widths == {name: size + 6 for name, size in widths(model).items()}
    weights = load(out / second.file).graph.initializers
    for name, figures in second.epochs[-1].metrics.items():
        assert figures["norm"] == pytest.approx(np.linalg.norm(weights[name].const_value.numpy()), rel=1e-5)
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert (settings["task"], settings["train"]["power"], settings["metrics"]) == ("sure", 2.0, ["norm"])
    page = (out / "report.html").read_text()
    assert '"id":"seconds"' in page
    assert '"id":"figure-norm"' in page


@pytest.mark.parametrize(("algo", "option"), [("mask", {"share": 0.25}), ("thin", {"reads": 0.5})])
def test_whole_methods(model: Path, tmp_path: Path, algo: str, option: dict[str, float]) -> None:
    train = {**SMALL, "epochs": 1}
    run = chanc.search(model, algo=algo, data="stripes", out=tmp_path / "run", options=option, train=train)
    assert (tmp_path / "run" / "report.html").exists()
    found = read_run(run.path).of(StateEvent)[-1].best.decision
    if algo == "mask":
        assert widths(run.model) == {name: size // 4 for name, size in widths(model).items()} == run.widths
        trained = load(run.path / "mask" / "trained.onnx").graph.initializers
        first = next(iter(found.keep))
        kept = load(run.model).graph.initializers[first].const_value.numpy()
        assert np.array_equal(kept, trained[first].const_value.numpy()[list(found.keep[first])])
    else:
        sizes = {group.id: group.units.size for group in chanc.analyze(model).groups}
        assert found.edges
        for reads in found.edges.values():
            assert {name: len(units) for name, units in reads.items()} == {name: sizes[name] // 2 for name in reads}
        assert chanc.analyze(run.model).params < chanc.analyze(model).params
    again = chanc.search(model, algo=algo, data="stripes", out=run.path, options=option, train=train, resume=True)
    assert read_run(again.path).events == read_run(run.path).events


def test_frontend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "plain:2", "--width", "6", "--size", "8", "--classes", "3", "-o", str(tmp_path / "plain.onnx")])
    assert "plain:2" in capsys.readouterr().out
    assert list(widths(tmp_path / "plain.onnx").values()) == [6, 6]


def test_data_set() -> None:
    found = datasets.load("stripes", limit_train=20)
    assert (found.shape, found.class_names, len(found.train_labels)) == ((1, 8, 8), ("upright", "level"), 20)


def test_task(model: Path) -> None:
    done = chanc.train(model, "stripes", task="sure", epochs=3, power=2.0, optimizer="adamw", lr=0.02, **SMALL)
    assert done.before < done.top1 <= 1


def test_metric_of_a_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["analyze", str(model), "--metric", "norm"])
    first = next(iter(widths(model)))
    weight = load(model).graph.initializers[first].const_value.numpy()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(first))
    assert line.split()[1:] == ["8x1x3x3", f"{np.linalg.norm(weight):.4f}"]
