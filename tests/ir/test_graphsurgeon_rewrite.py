"""A rewrite through onnx-graphsurgeon is the plain rewrite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper as nh
import pytest

from chanc.analysis import analyze
from chanc.ir import to_proto
from chanc.ir.graphsurgeon import from_gs, to_gs
from chanc.oracles import check_shrink, check_widen, differences
from chanc.rewriter import rewrite
from chanc.testing.builders import build

gs = pytest.importorskip("onnx_graphsurgeon")

BODY = """
a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
n = BatchNormalization (a, g, b, m, var)
r = Relu (n)
c = Conv <pads = [1, 1, 1, 1]> (r, w2)
s = Add (c, r)
p, q = Split <axis = 1> (s, sizes)
d = Conv (p, w3)
e = Conv (q, w4)
j = Concat <axis = 1> (d, e)
f = GlobalAveragePool (j)
h = Flatten (f)
y = Gemm <transB = 1> (h, w5, b5)
"""
SHAPES = {
    "w1": (24, 3, 3, 3), "b1": (24,), "g": (24,), "b": (24,), "m": (24,), "var": (24,), "w2": (24, 24, 3, 3),
    "sizes": np.array([16, 8]), "w3": (6, 16, 1, 1), "w4": (10, 8, 1, 1), "w5": (4, 16), "b5": (4,),
}  # fmt: skip


@pytest.fixture
def model() -> onnx.ModelProto:
    made = build("float[N,3,6,6] x", "float y", BODY, SHAPES)
    made.doc_string = "a model"
    made.metadata_props.add(key="author", value="someone")
    for k, node in enumerate(made.graph.node):
        node.name, node.doc_string = f"node {k}", f"the {k}th"
    return made


def content(proto: onnx.ModelProto) -> tuple[object, ...]:
    """All of a model but the order of its initializers and the spelling of empty domains and value_info."""
    weights = {t.name: (t.data_type, nh.to_array(t).tobytes(), tuple(t.dims)) for t in proto.graph.initializer}
    nodes = []
    for node in proto.graph.node:
        node.ClearField("domain")
        nodes.append(node.SerializeToString(deterministic=True))
    ends = [v.SerializeToString(deterministic=True) for v in (*proto.graph.input, *proto.graph.output)]
    texts = (proto.doc_string, proto.ir_version, {e.key: e.value for e in proto.metadata_props})
    return nodes, weights, ends, texts, {o.domain: o.version for o in proto.opset_import}


@pytest.mark.parametrize("transfer", ["select", "svd", "widen"])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_through_graphsurgeon_and_back_is_the_plain_rewrite(model, scale: float, transfer: str) -> None:
    from chanc.ir import load

    plain = rewrite(model, scale=scale, transfer=transfer)
    through = rewrite(to_gs(load(model)), scale=scale, transfer=transfer)
    assert isinstance(through.model, gs.Graph)
    assert through.trace.to_json() == plain.trace.to_json()
    assert content(to_proto(from_gs(through.model))) == content(plain.model)


def test_a_graph_of_graphsurgeons_own_importer(model) -> None:
    """It loses texts, but nothing that computes."""
    plain = rewrite(model, scale=0.5)
    through = rewrite(gs.import_onnx(model), scale=0.5)
    assert isinstance(through.model, gs.Graph)
    assert through.trace.to_json()["operands"] == plain.trace.to_json()["operands"]
    assert all(found.error == 0 for found in differences(plain.model, from_gs(through.model)))
    weights = {t.name: nh.to_array(t) for t in gs.export_onnx(through.model).graph.initializer}
    for tensor in plain.model.graph.initializer:
        assert np.array_equal(weights[tensor.name], nh.to_array(tensor))


def test_the_callers_graph_stays_as_it_is(model) -> None:
    graph = gs.import_onnx(model)
    before = gs.export_onnx(graph).SerializeToString(deterministic=True)
    held = {name: tensor for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
    analyze(graph)
    done = rewrite(graph, scale=0.5)
    assert done.model is not graph
    assert gs.export_onnx(graph).SerializeToString(deterministic=True) == before
    assert all(graph.tensors()[name] is tensor for name, tensor in held.items())
    fresh = {id(tensor) for tensor in done.model.tensors().values()}
    assert not fresh & {id(tensor) for tensor in graph.tensors().values()}


def test_the_groups_are_those_of_the_plain_model(model) -> None:
    one, two = analyze(model), analyze(gs.import_onnx(model))
    assert [(g.id, g.size, g.step, g.resizable) for g in one.groups] == [
        (g.id, g.size, g.step, g.resizable) for g in two.groups
    ]


def test_both_oracles_on_a_graph(model) -> None:
    graph = gs.import_onnx(model)
    assert check_shrink(graph, scale=0.5).operands
    assert check_widen(graph, scale=1.5).operands


def test_edits_go_on_after_a_rewrite(model, tmp_path: Path) -> None:
    """What comes back is a graph that graphsurgeon can edit, export and read again."""
    done = rewrite(gs.import_onnx(model), {"w1#0": 8}).model
    done.outputs[0].name = "logits"
    path = tmp_path / "edited.onnx"
    onnx.save(gs.export_onnx(done.cleanup()), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert analyze(path).group("w1#0").size == 8
