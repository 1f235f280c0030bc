from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes import Sequential

from chanc import ir as chanc_ir
from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends import ort
from chanc.passes import InferShapes, Normalize
from chanc.testing.builders import build
from chanc.testing.graphs import Graph


def bare(proto: onnx.ModelProto) -> ir.Model:
    """The model without any shape but those of its inputs."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    return ir.from_proto(proto)


def shapes(model: ir.Model) -> dict[str, list[int | str | None]]:
    return {
        value.name: [size if isinstance(size, int) else size.value for size in value.shape]
        for node in model.graph
        for value in node.outputs
        if value.shape is not None
    }


def network(batch: dict[int, str]) -> onnx.ModelProto:
    graph = Graph()
    x = graph.input("x", [2, 8, 8, 6], dynamic=batch)
    x = x.conv(12, stride=2).bn().relu()
    y = x.reshape(x.dim(0), 3, 4, x.dim(2), x.dim(3)).transpose(0, 2, 1, 3, 4).reshape(2, 12, 4, 3)
    return graph.model(y.gap().flatten().gemm(5), x.pool())


def test_every_value_gets_the_shape_that_it_has_in_onnxruntime() -> None:
    proto = network({})
    model = bare(proto)
    infer_shapes(model)
    exposed = chanc_ir.copy_model(model)
    values = [value for node in exposed.graph for value in node.outputs]
    exposed.graph.outputs.clear()
    exposed.graph.outputs.extend(values)
    real = ort.run(exposed, ort.random_feeds(exposed), exact=True)
    found = shapes(model)
    for value, array in zip(values, real, strict=True):
        assert found[value.name] == list(array.shape), value.name
        assert value.dtype == ir.DataType.from_numpy(array.dtype), value.name


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_channel_shuffle_of_open_sizes(opset) -> None:
    """Shape chains stop ONNX's own inference here: it gives no rank at all in opsets 11 and 13."""
    graph = Graph(opset=opset)
    x = graph.input("x", [2, 8, 6, 6], dynamic={0: "n", 2: "h", 3: "w"})
    y = x.reshape(x.dim(0), 2, 4, x.dim(2), x.dim(3)).transpose(0, 2, 1, 3, 4)
    proto = graph.model(y.reshape(x.dim(0), 8, x.dim(2), x.dim(3)).relu())
    model = bare(proto)
    infer_shapes(model)
    shape = shapes(model)[model.graph.outputs[0].name]
    assert len(shape) == 4
    assert shape[1] == 8
    assert not any(isinstance(shape[axis], int) for axis in (0, 2, 3))


def test_sizes_of_minus_one_and_zero_are_open() -> None:
    proto = network({})
    for size in (-1, 0):
        for axis in (0, 2):
            proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
        model = bare(proto)
        infer_shapes(model)
        conv = next(node for node in model.graph if node.op_type == "Conv")
        shape = shapes(model)[conv.outputs[0].name]
        assert shape[1] == 12
        assert not isinstance(shape[0], int) or shape[0] > 0
        assert not isinstance(shape[2], int) or shape[2] > 0


def test_operators_of_other_domains_stop_nothing() -> None:
    proto = build("float[N,3,8,8] x", "float y, float z", """
        a = Conv <pads = [1,1,1,1]> (x, w)
        y = custom.Unknown (a)
        z = Relu (a)
    """, {"w": [4, 3, 3, 3]}, domains=["custom"])  # fmt: skip
    model = bare(proto)
    infer_shapes(model)
    found = shapes(model)
    assert found["z"] == ["N", 4, 8, 8]
    assert "y" not in found


def test_weights_are_not_copied_nor_changed() -> None:
    weight = np.zeros((256, 64, 3, 3), np.float32)
    model = ir.from_proto(build("float[1,64,8,8] x", "float y", "y = Conv (x, w)", {"w": weight}))
    before = model.graph.initializers["w"].const_value
    infer_shapes(model)
    assert model.graph.initializers["w"].const_value is before
    assert shapes(model)["y"] == [1, 256, 6, 6]


def test_in_a_pipeline() -> None:
    model = bare(network({0: "n"}))
    result = Sequential(Normalize(), InferShapes())(model)
    assert result.model is model
    assert all(value.shape is not None for node in model.graph for value in node.outputs)
