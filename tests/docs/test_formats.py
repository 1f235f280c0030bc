"""docs/reference: the tables of JSON keys say what is written, no more and no less."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import chanc
from chanc.cli import eval as scoring
from chanc.cli import latency as timing
from chanc.cli.analyze import to_json
from chanc.measuring.scoring import Evaluated
from chanc.runs import Decision, Epoch, StateEvent, Trial, events, read_run
from chanc.runs.events import KINDS, to_line
from chanc.testing import toy
from chanc.testing.graphs import Graph

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def tables(page: str) -> dict[str, list[str]]:
    """The keys of a page's tables, by the heading above."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in (REFERENCE / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif row := re.match(r"\| `([a-z]\w*)` \|", line):
            found.setdefault(heading, []).append(row[1])
    return found


JSON, RUN, EVENTS = (tables(page) for page in ("json.md", "run.md", "events.md"))


@pytest.fixture(scope="module")
def model() -> Any:
    """Two convolutions that read one tensor; an unknown operator behind them pins what it reads."""
    graph = Graph(opset=17, seed=0)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu()
    return graph.ir(graph.op("Add", x.conv(4), x.conv(4)).relu().conv(2))


def test_an_analysis(model: Any) -> None:
    found = to_json(chanc.analyze(model), "model.onnx", layers=True)
    assert list(found) == JSON["Analysis"]
    assert list(found["model"]) == JSON["Model"]
    for key, heading in (("groups", "Group"), ("pinned", "Pinned"), ("layers", "Layer")):
        assert list(found[key][0]) == JSON[heading]
    assert list(found["groups"][0]["operands"][0]) == JSON["Operand"]


def test_plans(model: Any) -> None:
    """Every form of a wish on the page is taken, for a group of eight channels."""
    wishes = re.findall(r"^\| `([^`]*(?:\d|}))` \|", (REFERENCE / "json.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(wishes) == 4
    wide = next(group.id for group in chanc.analyze(model).groups if group.resizable)
    for wish in map(json.loads, wishes):
        old, new = chanc.rewrite(model, {wide: wish}).trace.groups[wide]
        assert old == 8 != new


def test_traces(model: Any) -> None:
    wide, narrow = (group.id for group in chanc.analyze(model).groups if group.resizable)
    trace = chanc.rewrite(model, {wide: 4}).trace.to_json()
    assert list(trace) == JSON["Trace"]
    assert list(next(iter(trace["verdicts"].values()))) == JSON["Verdict"]
    assert list(trace["operands"][0]) == JSON["Traced operand"]
    consumer = next(f"{o.node}:{o.input}" for o in chanc.analyze(model).group(wide).operands if o.role == "consumer")
    plan = {"format": 2, "groups": {narrow: 2}, "edges": {consumer: [0, 1, 5]}}
    assert list(plan) == JSON["Plan"]
    edges = chanc.rewrite(model, plan).trace.to_json()
    assert list(edges) == JSON["Trace"] + JSON["Traces with edges"]
    assert list(edges["edges"][consumer]) == JSON["Traced edge"]


def test_scores() -> None:
    assert list(scoring.to_json(Evaluated(10, "pixels"), ["model.onnx"])) == JSON["Scores"]


def test_latencies(model: Any) -> None:
    pytest.importorskip("onnxruntime")
    timed = timing.to_json(chanc.latency(model, repeats=1), ["model.onnx"], None)
    assert list(timed) == JSON["Latencies"]
    assert list(timed["latencies"][0]) == JSON["Latency"]


def names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def test_events() -> None:
    common = EVENTS.pop("Events")
    line = json.loads(to_line(StateEvent({}), 0))
    assert [key for key in line if key != "state"] == common
    documented = {**KINDS, "Decision": Decision, "Trial, asked": Trial, "Epoch of a training": Epoch}
    assert {heading: names(kind) for heading, kind in documented.items()} == EVENTS
    assert events.VERSION == 3


def test_a_run_directory(tmp_path: Path) -> None:
    """Of a whole search on made-up measurements; what real trainings leave besides is named on the page."""
    run = toy.search(tmp_path / "run").path
    page = (REFERENCE / "run.md").read_text(encoding="utf-8")

    def content(name: str) -> Mapping[str, Any]:
        text = (run / name).read_text(encoding="utf-8")
        found: Mapping[str, Any] = json.loads(text.splitlines()[0] if name.endswith("jsonl") else text)
        return found

    assert {*content("config.json"), "asked"} == set(RUN["config.json"])
    assert set(content("timing.jsonl")) <= set(RUN["timing.jsonl"])
    assert list(content("summary.json")) == RUN["summary.json"]
    compared = content("comparison.json")
    assert list(compared) == RUN["comparison.json"]
    assert list(compared["rows"][0]) == RUN["Row"]
    assert list(next(iter(compared["differences"].values()))) == RUN["Difference"]
    for path in (path for path in run.rglob("*") if path.is_file() and not path.name.startswith(".")):
        place = re.sub(r"^trials/\w+/", "trials/NNN/", path.relative_to(run).as_posix())
        assert any(f"`{part}`" in page for part in (place, path.name, f"{place.split('/')[0]}/NAME-TURN/")), place
    assert read_run(run).trials
