from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import PassError, PassManager

from chanc.backends import ort
from chanc.errors import IllegalMove, PlanError
from chanc.passes import FindGroups, ResizeWidths
from chanc.rewriter import rewrite
from chanc.rewriter.rules import REGISTRY
from chanc.testing.builders import build


@pytest.fixture
def model() -> onnx.ModelProto:
    """Two convolutions and a head: [N, 3, 8, 8] -> [N, 5]."""
    text = """
    <ir_version: 10, opset_import: ["" : 17]>
    net (float[N, 3, 8, 8] x) => (float[N, 5] y)
    {
      a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
      r = Relu (a)
      c = Conv (r, w2)
      g = GlobalAveragePool (c)
      f = Flatten (g)
      y = Gemm <transB = 1> (f, w3)
    }
    """
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in (("w1", (8, 3, 3, 3)), ("b1", (8,)), ("w2", (6, 8, 3, 3)), ("w3", (5, 6))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    return proto


def test_among_foreign_passes(model):
    passes = PassManager([common.RemoveUnusedNodesPass(), FindGroups(), ResizeWidths(scale=0.5)])
    result = passes(ir.serde.deserialize_model(model))
    assert result.modified
    assert result.model.meta["chanc.trace"].groups == {"w1": (8, 4), "w2": (6, 3)}
    assert "chanc.analysis" not in result.model.meta  # it spoke of the old widths


def test_the_same_kind_comes_back(model):
    before = model.SerializeToString()
    small = ResizeWidths(scale=0.5)(model)
    assert isinstance(small, onnx.ModelProto)
    assert model.SerializeToString() == before
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)}
    np.testing.assert_array_equal(ort.run(small, feeds)[0], ort.run(rewrite(model, scale=0.5).model, feeds)[0])


def test_a_graphsurgeon_graph_goes_in_and_comes_out(model):
    gs = pytest.importorskip("onnx_graphsurgeon")
    small = ResizeWidths(plan={"w1": 4})(gs.import_onnx(model))
    assert isinstance(small, gs.Graph)
    assert small.tensors()["w1"].shape == [4, 3, 3, 3] or tuple(small.tensors()["w1"].shape) == (4, 3, 3, 3)


def test_nothing_to_change_is_said(model):
    assert not ResizeWidths(scale=1.0)(ir.serde.deserialize_model(model)).modified


def test_weights_drawn_anew_are_a_change_at_the_same_widths(model):
    loaded = ir.serde.deserialize_model(model)
    assert ResizeWidths(scale=1.0, transfer="init")(loaded).modified
    assert not ResizeWidths(scale=1.0, transfer="init")(loaded).modified  # the same seed draws the same
    assert ResizeWidths(scale=1.0, transfer="init", seed=1)(loaded).modified


def test_the_options_are_those_of_rewrite():
    """One home: what a rewrite can be asked for, the pass can."""
    asked = list(inspect.signature(rewrite).parameters)[1:]
    assert [field.name for field in dataclasses.fields(ResizeWidths)] == asked


STANDARDISED = """
m = ReduceMean<axes=[1, 2, 3]>(w)
d = Sub(w, m)
s = Mul(d, d)
v = ReduceMean<axes=[1, 2, 3]>(s)
q = Sqrt(v)
f = Div(d, q)
a = Conv(x, first)
y = Conv(a, f)
"""


def test_weights_that_the_graph_computes_are_folded_as_rewrite_does():
    standardised = build("float[2,3,8,8] x", "float y", STANDARDISED, {"first": (8, 3, 1, 1), "w": (5, 8, 1, 1)})
    loaded = ir.serde.deserialize_model(standardised)
    assert ResizeWidths(scale=0.5)(loaded).modified
    assert loaded.meta["chanc.trace"].exact
    assert [node.op_type for node in loaded.graph] == ["Conv", "Conv"]
    kept = ResizeWidths(scale=0.5, fold=False)(standardised)
    assert "ReduceMean" in [node.op_type for node in kept.graph.node]


def test_a_group_at_fault_is_left_alone_and_the_others_go_on(monkeypatch):
    def stuck(site):
        raise IllegalMove("it can't follow")

    body = "a = Conv(x, w1)\ns = Reshape(a, to)\nb = Conv(s, w2)\ny = Conv(b, w3)"
    shapes = {"w1": (6, 3, 1, 1), "w2": (4, 6, 1, 1), "w3": (2, 4, 1, 1), "to": np.array([2, 6, 4, 4])}
    loaded = ir.serde.deserialize_model(build("float[2,3,4,4] x", "float y", body, shapes))
    find = REGISTRY.find
    monkeypatch.setattr(REGISTRY, "find", lambda d, name, since: stuck if name == "Reshape" else find(d, name, since))
    assert ResizeWidths(scale=0.5)(loaded).modified
    assert loaded.meta["chanc.trace"].groups == {"w1": (6, 6), "w2": (4, 2)}
    assert loaded.meta["chanc.trace"].left == {"w1": "it can't follow"}
    assert loaded.graph.initializers["w2"].shape == (2, 6, 1, 1)


def test_an_error_leaves_the_widths_as_they_were(model):
    loaded = ir.serde.deserialize_model(model)
    before = ir.serde.serialize_model(loaded).SerializeToString(deterministic=True)
    with pytest.raises(PassError):
        PassManager([ResizeWidths(plan={"w1": 4, "w9": 4})])(loaded)
    assert ir.serde.serialize_model(loaded).SerializeToString(deterministic=True) == before


def test_a_wrong_plan_is_refused(model):
    with pytest.raises(PlanError, match="no channel group matches 'w9'"):
        ResizeWidths(plan={"w9": 4})(model)
