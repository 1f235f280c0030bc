from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import PassManager, Sequential

from chanc import ir as chanc_ir
from chanc.backends import ort
from chanc.errors import DataError, ModelError
from chanc.passes import FoldBatchNorm, InsertBatchNorm, fold_batchnorm, insert_batchnorm
from chanc.passes.insert_batchnorm import NORMS
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

EXPORTED = Path(os.environ.get("CHANC_EXPORTED", "/tmp/m"))


def residual(opset: int = 17, **options):
    graph = Graph(seed=2, opset=opset, **options)
    x = graph.input("x", [2, 3, 12, 12], dynamic={0: "n"})
    x = x.conv(8).relu()
    y = (x + x.depthwise(bias=False).relu().conv(8, 1)).conv_transpose(6).relu()
    gate = y.gap().conv(6, 1).sigmoid()
    return graph.model((y * gate).gap().flatten().gemm(4))


@pytest.mark.parametrize("opset", [9, 13, 17, 18, 21])
def test_function_is_unchanged(opset, same, groups, feeds, ops) -> None:
    model = residual(opset) if opset > 12 else build("float[N,3,12,12] x", "float y", """
        a = Conv <pads = [1,1,1,1]> (x, w, b)
        r = Relu (a)
        y = Conv (r, v)
    """, {"w": [8, 3, 3, 3], "b": [8], "v": [4, 8, 1, 1]}, opset=opset)  # fmt: skip
    changed = ir.from_proto(model)
    assert InsertBatchNorm(feeds("x", 3, 12, 12))(changed).modified
    assert ops(changed).count("BatchNormalization") == (4 if opset > 12 else 2)
    same(model, changed, tolerance=1e-5)
    assert groups(model) == groups(changed)
    assert not insert_batchnorm(changed, feeds("x", 3, 12, 12))


def test_statistics_are_those_of_the_data(feeds) -> None:
    model = ir.from_proto(residual())
    batches = feeds("x", 3, 12, 12, batches=(5, 16, 2))
    insert_batchnorm(model, batches)
    norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
    outputs = [node.inputs[0] for node in norms]
    exposed = chanc_ir.copy_model(model)
    by_name = {value.name: value for node in exposed.graph for value in node.outputs}
    exposed.graph.outputs.extend(by_name[value.name] for value in outputs)
    whole = ort.run(exposed, {"x": np.concatenate([batch["x"] for batch in batches])}, exact=True)[1:]
    for norm, array in zip(norms, whole, strict=True):
        scale, _, mean, variance = (value.const_value.numpy().astype(np.float64) for value in norm.inputs[1:])
        array = array.astype(np.float64)
        np.testing.assert_allclose(mean, array.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, array.var(axis=(0, 2, 3)), rtol=1e-4)
        np.testing.assert_allclose(scale**2, variance + norm.attributes.get_float("epsilon"), rtol=1e-6)
        assert len(norm.inputs[0].producer().inputs) == 2, "the bias has moved into the norm"
        assert norm.attributes.get_float("momentum") == pytest.approx(0.9)


def test_names(feeds) -> None:
    model = ir.from_proto(build("float[N,3,8,8] x", "float y, float c", """
        c = Conv (x, "features.0.weight", b)
        r = Relu (c)
        y = Conv (r, "head", b2)
    """, {"features.0.weight": [8, 3, 3, 3], "b": [8], "head": [4, 8, 1, 1], "b2": [4]}))  # fmt: skip
    insert_batchnorm(model, feeds("x", 3, 8, 8))
    assert [node.outputs[0].name for node in model.graph] == ["c.conv", "c", "r", "y.conv", "y"]
    assert [value.name for value in model.graph.outputs] == ["y", "c"]
    ends = ("weight", "bias", "running_mean", "running_var")
    wanted = {"features.0.weight", "head"} | {f"{stem}.bn.{end}" for stem in ("features.0", "head") for end in ends}
    assert set(model.graph.initializers) == wanted


def test_what_is_left(feeds, ops) -> None:
    graph = Graph()
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"}).conv(8).bn().relu()
    model = graph.ir(x.gap().conv(8, 1).relu().conv(4, 1).flatten())
    before = ops(model)
    result = InsertBatchNorm(feeds("x", 3, 8, 8))(model)
    assert not result.modified
    assert ops(model) == before


def test_shared_weight_gets_two_norms(same, feeds) -> None:
    model = build("float[N,4,8,8] x", "float y", "a = Conv (x, w, b) r = Relu (a) y = Conv (r, w, b)",
                  {"w": [4, 4, 3, 3], "b": [4]})  # fmt: skip
    changed = ir.from_proto(model)
    assert insert_batchnorm(changed, feeds("x", 4, 8, 8))
    same(model, changed, tolerance=1e-5)
    assert "b" not in changed.graph.initializers
    assert "w.bn.weight_2" in changed.graph.initializers


def test_inserting_and_folding_give_the_model_back(same, feeds, ops) -> None:
    model = residual()
    changed = ir.from_proto(model)
    insert_batchnorm(changed, feeds("x", 3, 12, 12))
    assert fold_batchnorm(changed)
    assert ops(changed) == [node.op_type for node in model.graph.node]
    assert [node.outputs[0].name for node in changed.graph] == [node.output[0] for node in model.graph.node]
    same(model, changed)


def test_constant_channel_and_half_precision(same, feeds) -> None:
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    w[1] = 0
    model = build("float[N,3,8,8] x", "float y", "c = Conv (x, w, b) y = Relu (c)", {"w": w, "b": [4]})
    changed = ir.from_proto(model)
    insert_batchnorm(changed, feeds("x", 3, 8, 8))
    same(model, changed, tolerance=1e-5)
    half = ir.from_proto(build("float16[N,3,8,8] x", "float16 y", "c = Conv (x, w) y = Relu (c)",
                               {"w": w.astype(np.float16)}))  # fmt: skip
    insert_batchnorm(half, [{"x": feeds("x", 3, 8, 8)[0]["x"].astype(np.float16)}])
    assert {value.dtype for value in half.graph.initializers.values()} == {ir.DataType.FLOAT16}


def test_errors(feeds) -> None:
    model = ir.from_proto(residual())
    with pytest.raises(DataError, match="at least one batch"):
        insert_batchnorm(model, [])
    with pytest.raises(ModelError, match="no value for input 'x'"):
        insert_batchnorm(model, feeds("image", 3, 12, 12))


@pytest.mark.parametrize("manager", [Sequential, lambda *passes: PassManager(passes, steps=2)])
def test_among_foreign_passes(manager, same, feeds, ops) -> None:
    model = residual()
    passes = manager(common.DeduplicateInitializersPass(), FoldBatchNorm(), InsertBatchNorm(feeds("x", 3, 12, 12)),
                     common.CommonSubexpressionEliminationPass(), common.CheckerPass())  # fmt: skip
    result = passes(ir.from_proto(model))
    assert result.modified
    assert "BatchNormalization" in ops(result.model)
    same(model, result.model)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0"])
def test_dynamo_exports(name, same, groups, ops) -> None:
    """Exports of torchvision's networks, their norms folded by the exporter; $CHANC_EXPORTED says where they lie."""
    path = EXPORTED / f"tv_{name}.dy.onnx"
    if not path.exists():
        pytest.skip(f"no {path}")
    model = chanc_ir.load(path)
    feeds = ort.fitting_feeds(model, batch=2)
    changed = chanc_ir.load(path)
    assert insert_batchnorm(changed, [feeds])
    convs = [node for node in changed.graph if node.op_type == "Conv"]
    bare = [node for node in convs if not any(use.node.op_type in NORMS for use in node.outputs[0].uses())]
    assert len(bare) == (32 if name == "efficientnet_b0" else 0), "only the gates of squeeze-and-excitation stay bare"
    same(model, changed)
    assert groups(model) == groups(changed)
    assert fold_batchnorm(changed)
    assert "BatchNormalization" not in ops(changed)
    same(model, changed)
