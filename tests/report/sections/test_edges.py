"""The sections of a search that drops inputs: what went step by step, and what is left of layers, cells and tensors."""

from __future__ import annotations

import dataclasses
import json

import onnx
import pytest

from chanc.errors import RunError
from chanc.report import run as report_run
from chanc.report.record import Record, read_record
from chanc.report.sections import sections
from chanc.report.sections.edge_cells import cell_of
from chanc.report.swept import swept
from chanc.runs import EpochEvent, Row, create, read_run
from chanc.runs.edges import edge_epochs
from chanc.runs.sweeps import CellResult
from chanc.testing.builders import build


@pytest.fixture
def pruned(runs, tmp_path):
    """A made-up search: two epochs of all inputs, then four steps."""
    return read_record(runs.write_edge_run(tmp_path / "cnas"))


def test_every_picture_is_there(pruned, plots_of):
    assert set(plots_of(pruned)) == {
        "final-params", "final-macs", "edges-left", "edges-score", "edges-layers", "edge-layers", "edge-cells",
        "edge-counts", "edge-tensors", "training-top1", "training-loss",
    }  # fmt: skip
    for section in sections(pruned):
        json.dumps(section.data(), allow_nan=False)


def test_a_run_without_edges_has_none(runs, tmp_path, plots_of):
    masked = read_record(runs.write_masked_run(tmp_path / "masked", units=2, epochs=2, final=False))
    assert not [name for name in plots_of(masked) if name.startswith("edge")]


def test_what_is_left_by_epoch(pruned, plots_of):
    inputs, params = plots_of(pruned)["edges-left"].series
    assert list(inputs.x) == [1, 2, 3, 4, 5, 6]
    # Of 3 * (16 + 24) inputs, a step takes 3 (of nodes) or 15 (of all), in turns.
    assert inputs.y == [round(100 * left / 120, 2) for left in (120, 120, 117, 102, 99, 84)]
    assert params.y == [round(100 * (17 * left + 300) / 2340, 2) for left in (120, 120, 117, 102, 99, 84)]
    text = next(section.text for section in sections(pruned) if section.id == "edges")
    assert text.startswith("Of 120 inputs 84 are left, of 2,340 params 1,728.")


def test_the_curve_begins_where_the_whole_network_was_trained(pruned, plots_of):
    (scores,) = plots_of(pruned)["edges-score"].series
    assert scores.y == [54, 58, 62, 66, 70]
    assert scores.x[0] == 100
    assert scores.labels[0] == "epoch 2, 120 inputs"
    assert scores.errors[0] == pytest.approx(100 * (0.54 * 0.46 / 400) ** 0.5, abs=1e-3)


def test_what_layers_cells_and_tensors_are_read_of(pruned, plots_of):
    plots = plots_of(pruned)
    (layers,) = plots["edge-layers"].series
    assert layers.y == [75, round(100 * 16 / 24, 2)] * 3
    assert layers.labels[1] == "cells.0.nodes.1.0.pointwise.weight: 16 of 24"
    assert plots["edge-cells"].series[0].y == [70, 70, 70]
    assert [list(series.y) for series in plots["edge-counts"].series] == [[28] * 3, [40] * 3]
    tensors = plots["edge-tensors"]
    assert tensors.rows == ["cells.0", "cells.1", "cells.2"]
    assert tensors.values == [[75, 75, 50]] * 3
    assert plots["edges-layers"].values[1] == [round(100 * left / 24, 2) for left in (24, 24, 23, 20, 19, 16)]


def test_a_cells_own_tensors_come_first_and_cells_in_the_order_of_their_last_layers(pruned, plots_of):
    kept = {
        "/cells.0/a/Conv_output_0:1": {"cells.0.d": (0,)},
        "/cells.2/shrink/Conv_output_0:1": {"cells.0.z": (), "cells.0.y": (1, 2)},
        "/cells.1/a/Conv_output_0:1": {"cells.1.d": (0, 1)},
        "/cells.2/a/Conv_output_0:1": {"cells.2.d": (4,)},
    }
    cut = {reader: dict.fromkeys(groups, (7,)) for reader, groups in kept.items()}
    counts = {"cells.0.a": 2, "cells.2.shrink": 3, "cells.1.a": 4, "cells.2.a": 5}
    epochs = tuple(dataclasses.replace(pruned.edges[0], counts=counts, cut=of) for of in ({}, cut))
    plots = plots_of(dataclasses.replace(pruned, kept=kept, edges=epochs))
    tensors, left = plots["edge-tensors"], plots["edge-counts"].series[0]
    assert dict(zip(left.labels, left.y, strict=True)) == {"cells.0": 2, "cells.1": 4, "cells.2": 8}
    assert list(left.labels) == ["cells.0", "cells.1", "cells.2"]
    assert tensors.rows == ["cells.0", "cells.1", "cells.2"]
    assert tensors.values == [[50, None, None], [66.67, None, None], [50, 0, 66.67]]


def test_the_one_shot_score_against_the_final_one(runs, tmp_path):
    cells = []
    for number, (nodes, top1) in enumerate(((2, 0.90), (3, 0.92), (4, 0.91), (4, 0.93))):
        folder = runs.write_edge_run(tmp_path / str(number), cells=1, steps=nodes)
        row = Row("found", 100, 100, top1, scores={str(number): top1})
        result = CellResult(str(number), "cnas", number, rows={"found": row}, settings={"nodes": nodes})
        cells.append(swept(folder, result))
    plots = {plot.id: plot for section in sections(Record(tmp_path, {}, cells=tuple(cells))) for plot in section.plots}
    series = plots["one-shot"].series
    assert [(*one.x, *one.y) for one in series] == [pytest.approx(pair) for pair in ((62, 90), (66, 92), (70, 92))]
    assert series[2].errors[0] == pytest.approx(1)
    assert plots["one-shot"].note.startswith("ρ = +0.")
    assert "axis-nodes-top1" in plots


def test_before_its_end_a_search_has_no_tensors(runs, tmp_path, plots_of):
    folder = runs.write_edge_run(tmp_path / "cnas", final=False)
    log = folder / "events.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    plots = plots_of(read_record(folder))
    assert "edge-tensors" not in plots
    assert "edge-cells" in plots


def test_the_network_is_drawn_with_the_tensors_that_all_read(pruned):
    (pruned.path / "edges").mkdir()
    model = build("float[1,3,4,4] x", "float p, float y", "a = Conv (x, wa)\np = Conv (a, wp)\ny = Conv (a, wy)",
                  {"wa": (6, 3, 1, 1), "wp": (4, 6, 1, 1), "wy": (4, 6, 1, 1)})  # fmt: skip
    onnx.save(model, pruned.path / "edges" / "trained.onnx")
    record = dataclasses.replace(pruned, kept={"p:1": {"wa": (0, 2)}})
    graph, _ = report_run._best_graph(record)
    assert {node["label"]: sum(part["d"] for part in node["in"]) for node in graph["nodes"] if node["in"]} == {
        "wa": 0, "wp": 4, "wy": 0,
    }  # fmt: skip
    assert report_run._best_graph(dataclasses.replace(record, kept={})) == (None, "The run has no best.onnx yet.")


@pytest.mark.parametrize(
    ("name", "cell"),
    [("/cells.2/nodes.0.1/pointwise/Conv_output_0:1", "cells.2"), ("cells.12.preprocess0.conv.weight", "cells.12"),
     ("layer1.0.conv2.weight", "layer1"), ("stem.weight", "stem"), ("", "")],
)  # fmt: skip
def test_a_cell_ends_at_the_first_number(name, cell):
    assert cell_of(name) == cell


def test_an_event_that_lacks_its_counts_is_damaged(tmp_path):
    run = create(tmp_path / "run", {}, {})
    run.append(EpochEvent(0, 1.0, 0.5, {"left": {"inputs": 3.0, "params": 9.0}}))
    with pytest.raises(RunError, match="an epoch's event can't be read"):
        edge_epochs(read_run(tmp_path / "run"))
