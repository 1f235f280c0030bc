from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import PassManager, Sequential

from chanc.passes import FoldBatchNorm
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.transforms import fold_batchnorm
from chanc.transforms._edit import Editor

BN = "BatchNormalization <epsilon = 0.01> ({}, scale, bias, mean, var)"


def norms(count: int, **more: list[int]) -> dict[str, list[int]]:
    return {"scale": [count], "bias": [count], "mean": [count], "var": [count], **more}


def test_constants_of_many_norms_are_looked_at_once(monkeypatch, same, ops) -> None:
    """Whether one still has readers takes as long as it has readers: asked after each fold, that is quadratic."""
    looks: list[str | None] = []
    drop = Editor.drop
    monkeypatch.setattr(Editor, "drop", lambda editor, value: looks.append(value.name) or drop(editor, value))
    body, weights = "", {}
    for i in range(6):
        body += f"c{i} = Conv(x{i}, w{i})\nn{i} = {BN.format(f'c{i}')}\nx{i + 1} = Relu(n{i})\n"
        weights[f"w{i}"] = [4, 4, 1, 1]
    model = build("float[1,4,2,2] x0", "float[1,4,2,2] x6", body, norms(4, **weights))
    folded = ir.from_proto(model)
    assert fold_batchnorm(folded)
    assert "BatchNormalization" not in ops(folded)
    assert set(folded.graph.initializers) == {f"w{i}{end}" for i in range(6) for end in ("", ".bias")}
    assert len(looks) == len(set(looks)) == 4 + 6
    same(model, folded, tolerance=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["conv", "grouped", "depthwise", "transposed", "transposed grouped"])
def test_convolutions(kind, bias, same, groups, ops) -> None:
    graph = Graph(seed=4)
    x = graph.input("x", [2, 8, 6, 6])
    x = x.conv(12).relu()
    made = {
        "conv": lambda: x.conv(10, stride=2, bias=bias),
        "grouped": lambda: x.conv(8, groups=4, bias=bias),
        "depthwise": lambda: x.depthwise(multiplier=2, bias=bias),
        "transposed": lambda: x.conv_transpose(10, bias=bias),
        "transposed grouped": lambda: x.conv_transpose(8, groups=4, bias=bias),
    }[kind]()
    model = graph.model(made.bn().relu().conv(4).gap().flatten().gemm(3))
    folded = ir.from_proto(model)
    result = FoldBatchNorm()(folded)
    assert result.modified
    assert "BatchNormalization" not in ops(folded)
    same(model, folded, tolerance=1e-5)
    assert groups(model) == groups(folded)
    assert not FoldBatchNorm()(folded).modified
    used = {value for node in folded.graph for value in node.inputs}
    assert set(folded.graph.initializers.values()) <= used


@pytest.mark.parametrize("text", [
    "(x, w, c)", "(x, w)", "<transB = 1> (x, wt, c)", "<alpha = 2.0, beta = 0.5> (x, w, c)",
    "<transA = 1, beta = 3.0> (xt, w, row)",
])  # fmt: skip
def test_gemm(text, same, ops) -> None:
    weights = norms(7, w=[5, 7], wt=[7, 5], c=[7], row=[1, 7])
    kept = {name: shape for name, shape in weights.items() if name in text or len(name) > 3 or name == "var"}
    model = build(f"float[{'5,4' if 'xt' in text else '4,5'}] {'xt' if 'xt' in text else 'x'}", "float y",
                  f"g = Gemm {text} y = {BN.format('g')}", kept)  # fmt: skip
    folded = ir.from_proto(model)
    assert fold_batchnorm(folded)
    assert ops(folded) == ["Gemm"]
    same(model, folded, tolerance=1e-5)


def test_names_of_tensors_stay() -> None:
    model = ir.from_proto(build("float[N,3,8,8] x", "float out, float z", f"""
        c = Conv <pads = [1,1,1,1]> (x, "layer.weight")
        mid = {BN.format("c")}
        out = Relu (mid)
        d = Conv (mid, "last.weight")
        z = {BN.format("d")}
    """, norms(4, **{"layer.weight": [4, 3, 3, 3], "last.weight": [4, 4, 1, 1]})))  # fmt: skip
    assert fold_batchnorm(model)
    assert [node.outputs[0].name for node in model.graph] == ["mid", "out", "z"]
    assert sorted(model.graph.initializers) == ["last.bias", "last.weight", "layer.bias", "layer.weight"]


@pytest.mark.parametrize(("body", "outputs"), [
    (f"c = Conv (x, w) y = {BN.format('c')} z = Relu (c)", "float y, float z"),
    (f"c = Conv (x, w) y = {BN.format('c')}", "float y, float c"),
    (f"c = Conv (x, v) y = {BN.format('c')}", "float y"),
    ("c = Conv (x, w) y, m, s = BatchNormalization <training_mode = 1> (c, scale, bias, mean, var)", "float y"),
    (f"r = Relu (x) c = Conv (r, w) p = MaxPool <kernel_shape = [2, 2]> (c) y = {BN.format('p')}", "float y"),
])  # fmt: skip
def test_what_is_left(body, outputs, ops) -> None:
    dynamic = ", float[4,3,1,1] v" if "v)" in body else ""
    model = ir.from_proto(build(f"float[N,3,8,8] x{dynamic}", outputs, body, norms(4, w=[4, 3, 1, 1])))
    before = ops(model)
    assert not FoldBatchNorm()(model).modified
    assert ops(model) == before


def test_shared_tensors_are_unshared(same) -> None:
    model = build("float[N,4,8,8] x", "float y, float z", f"""
        a = Conv (x, w, b)
        p = {BN.format("a")}
        y = Conv (p, w, b)
        c = ConvTranspose (x, w)
        z = {BN.format("c")}
    """, norms(4, w=[4, 4, 1, 1], b=[4]))  # fmt: skip
    folded = ir.from_proto(model)
    weight = folded.graph.initializers["w"].const_value.numpy().copy()
    assert fold_batchnorm(folded)
    same(model, folded, tolerance=1e-5)
    by_output = {node.outputs[0].name: node for node in folded.graph}
    assert by_output["y"].inputs[1].name == "w"
    assert np.array_equal(by_output["y"].inputs[1].const_value.numpy(), weight)


def test_weights_in_constant_nodes(same, ops) -> None:
    graph = Graph(stored="constant")
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"}).conv(6)
    model = graph.model(x.bn().relu())
    folded = ir.from_proto(model)
    assert fold_batchnorm(folded)
    assert ops(folded) == ["Constant", "Constant", "Conv", "Relu"]
    same(model, folded, tolerance=1e-5)


def test_initializers_listed_as_inputs_before_ir_4(same) -> None:
    model = build("float[2,3,8,8] x", "float y", f"c = Conv (x, w) y = {BN.format('c')}", norms(4, w=[4, 3, 3, 3]),
                  opset=8)  # fmt: skip
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    folded = ir.from_proto(model)
    assert fold_batchnorm(folded)
    same(model, folded, tolerance=1e-5)


def test_types_are_kept(ops) -> None:
    model = ir.from_proto(build("float16[2,3,8,8] x", "float16 y", f"c = Conv (x, w) y = {BN.format('c')}", {
        name: np.ones(shape, np.float16) for name, shape in norms(4, w=[4, 3, 1, 1]).items()
    }))  # fmt: skip
    assert fold_batchnorm(model)
    assert {value.dtype for value in model.graph.initializers.values()} == {ir.DataType.FLOAT16}
    assert all(value.const_value.dtype == ir.DataType.FLOAT16 for value in model.graph.initializers.values())


@pytest.mark.parametrize("manager", [Sequential, lambda *passes: PassManager(passes, steps=3)])
def test_among_foreign_passes(manager, same, ops) -> None:
    graph = Graph()
    x = graph.input("x", [2, 3, 8, 8]).conv(8).bn().relu()
    model = graph.model((x + x.conv(8).bn()).gap().flatten().gemm(5))
    loaded = ir.from_proto(model)
    passes = manager(common.DeduplicateInitializersPass(), FoldBatchNorm(), common.CommonSubexpressionEliminationPass(),
                     common.RemoveUnusedNodesPass(), common.CheckerPass())  # fmt: skip
    result = passes(loaded)
    assert result.modified
    assert "BatchNormalization" not in ops(result.model)
    same(model, result.model)
