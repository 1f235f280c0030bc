from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import PassManager

from chanc.backends import ort
from chanc.errors import PlanError
from chanc.passes import FindGroups, ResizeWidths
from chanc.rewriter import rewrite


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


def test_a_wrong_plan_is_refused(model):
    with pytest.raises(PlanError, match="no channel group 'w9'"):
        ResizeWidths(plan={"w9": 4})(model)
