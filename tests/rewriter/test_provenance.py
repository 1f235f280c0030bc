"""What a rewritten model says of where it comes from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from click.testing import CliRunner

import chanc
from chanc.cli.rewrite import command
from chanc.passes import ResizeWidths
from chanc.rewriter.provenance import PLAN, SOURCE, TRACE, VERSION
from chanc.testing.graphs import Graph


def network() -> onnx.ModelProto:
    graph = Graph(seed=0)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu().conv(12).relu()
    return graph.model(x.gap().flatten().gemm(4))


def said(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_tells_what_made_it(tmp_path: Path) -> None:
    source, out, trace = (tmp_path / name for name in ("in.onnx", "out.onnx", "t.json"))
    onnx.save(network(), source)
    asked = [str(source), "-o", str(out), "--scale", "0.5", "--no-verify", "--trace", str(trace)]
    assert CliRunner().invoke(command, asked).exit_code == 0
    found = said(onnx.load(out))
    assert found[VERSION] == chanc.__version__
    assert found[SOURCE] == digest(source)
    assert found[TRACE] == digest(trace)
    plan = json.loads(found[PLAN])
    again = chanc.rewrite(source, plan).model
    assert found == again.metadata_props
    chanc.save(again, tmp_path / "again.onnx")
    assert digest(tmp_path / "again.onnx") == digest(out)


def test_the_source_is_of_the_last_rewrite_alone(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "in.onnx")
    first = chanc.rewrite(tmp_path / "in.onnx", scale=0.5).model
    second = chanc.rewrite(first, scale=0.5).model
    assert SOURCE in first.metadata_props
    assert SOURCE not in second.metadata_props
    assert first.metadata_props[TRACE] != second.metadata_props[TRACE]


def test_what_did_not_change_says_nothing() -> None:
    assert said(chanc.rewrite(network(), scale=1.0).model) == {}


def test_kept_channels_change_the_trace_and_edges_stand_in_the_plan() -> None:
    group = chanc.analyze(network()).groups[0].id
    one, other = (said(chanc.rewrite(network(), {group: {"keep": units}}).model) for units in ([0, 1], [2, 3]))
    assert one[PLAN] == other[PLAN]
    assert one[TRACE] != other[TRACE]
    reader = next(node.output[0] for node in network().graph.node[1:] if node.op_type == "Conv")
    edges = {f"{reader}:1": [0, 1, 2]}
    model = chanc.rewrite(network(), {"format": 2, "groups": {}, "edges": edges}).model
    plan = json.loads(said(model)[PLAN])
    assert plan == {"format": 2, "groups": {}, "edges": edges}
    assert chanc.rewrite(network(), plan).model == model


def test_passes_and_graphs_say_it_too() -> None:
    surgeon = pytest.importorskip("onnx_graphsurgeon")
    model = ir.serde.deserialize_model(network())
    model.metadata_props[SOURCE] = "of another rewrite"
    result = ResizeWidths(scale=0.5)(model)
    wanted = said(chanc.rewrite(network(), scale=0.5).model)
    assert {**result.model.metadata_props} == wanted
    graph = chanc.rewrite(surgeon.import_onnx(network()), scale=0.5).model
    assert {**chanc.load(graph).metadata_props} == wanted
