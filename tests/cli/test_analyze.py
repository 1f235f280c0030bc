"""chanc analyze: the network as a page and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import chanc
from chanc.cli import main
from chanc.testing.graphs import Graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = Graph(opset=17, seed=0)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu()
    chanc.save(graph.ir(x.conv(4)), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_page_of_a_model_beside_the_one_that_it_came_from(model: Path) -> None:
    half, page = model.with_name("half.onnx"), model.with_name("net.html")
    chanc.save(chanc.rewrite(chanc.load(model), scale=0.5).model, half)
    main(["analyze", str(half), "--html", str(page), "--circles", "--before", str(model)])
    graph = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])["graph"]
    layers = [node for node in graph["nodes"] if node["kind"] == "layer"]
    assert [node["count"]["out"] for node in layers] == ["8 → 4", "4"]
    assert graph["circles"]
    assert graph["before"]["params"] == chanc.analyze(model).params


@pytest.mark.nightly
def test_a_picture(model: Path) -> None:
    pytest.importorskip("matplotlib")
    main(["analyze", str(model), "--draw", str(model.with_name("net.svg"))])
    assert model.with_name("net.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--circles"], "--circles is for --html and --draw"),
        (["--before", "model.onnx"], "--before is for --html and --draw"),
        (["--draw", "net.gif"], "a picture is .svg, .pdf or .png"),
    ],
)
def test_looks_without_a_picture(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    monkeypatch.chdir(model.parent)
    with pytest.raises(SystemExit) as stopped:
        main(["analyze", "model.onnx", *options])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]
