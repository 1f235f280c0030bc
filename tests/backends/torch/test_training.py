"""A generated module trains as a hand-written twin does, and its weights come home."""

from __future__ import annotations

import copy
import io

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from chanc.backends.torch import build

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, momentum=0.2, eps=1e-3)
        self.down = nn.Sequential()
        if stride > 1:
            self.down = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def export(module, x) -> onnx.ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(
        module.eval(), (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, opset_version=17,
    )  # fmt: skip
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(buffer.getvalue()), data_prop=True)


@pytest.fixture(scope="module")
def twin_and_model():
    torch.manual_seed(0)
    twin = Twin()
    return twin, export(twin, torch.zeros(2, 3, 12, 12))


def steps(module, count, start=0):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, weight_decay=1e-3)
    losses = []
    module.train()
    for step in range(start, start + count):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(6, 3, 12, 12, dtype=torch.float64, generator=generator)
        y = torch.randint(0, 10, (6,), generator=generator)
        loss = F.cross_entropy(module(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_ten_steps_equal_the_twin(twin_and_model):
    twin, proto = copy.deepcopy(twin_and_model[0]).double(), twin_and_model[1]
    model = ir.serde.deserialize_model(proto)
    built = build(model)
    module = built.module.double()
    assert set(module.state_dict()) == set(twin.state_dict())
    np.testing.assert_allclose(steps(module, 10), steps(twin, 10), rtol=1e-9)
    for key, value in twin.state_dict().items():
        assert torch.allclose(module.state_dict()[key].double(), value.double(), atol=1e-9, rtol=0), key
    assert not torch.equal(module.bn1.running_var, torch.ones(8, dtype=torch.float64))


def test_write_back_then_an_eleventh_step(twin_and_model):
    model = ir.serde.deserialize_model(copy.deepcopy(twin_and_model[1]))
    for value in model.graph.initializers.values():  # float64 all through, so that nothing is rounded on the way
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            value.const_value = ir.tensor(array.astype(np.float64), name=value.name)
            value.dtype = ir.DataType.DOUBLE
    built = build(model)
    assert next(built.module.parameters()).dtype == torch.float64
    steps(built.module, 10)
    names = list(model.graph.initializers)
    built.write_back(model)
    again = build(model)
    assert set(names) <= set(model.graph.initializers)
    for key, value in built.module.state_dict().items():
        if "num_batches" not in key:
            assert torch.equal(again.module.state_dict()[key], value), key
    np.testing.assert_allclose(steps(again.module, 1, 10), steps(built.module, 1, 10), rtol=1e-12)
    for key, value in built.module.state_dict().items():
        if "num_batches" not in key:
            assert torch.allclose(again.module.state_dict()[key], value, rtol=0, atol=1e-12), key


def test_write_back_gives_a_model_that_onnxruntime_agrees_with(twin_and_model, matches):
    model = ir.serde.deserialize_model(twin_and_model[1])
    built = build(model)
    optimizer = torch.optim.SGD(built.module.parameters(), lr=0.05)
    built.module.train()
    built.module(torch.randn(4, 3, 12, 12)).square().sum().backward()
    optimizer.step()
    built.write_back(model)
    x = np.random.default_rng(0).standard_normal((3, 3, 12, 12)).astype(np.float32)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    after = matches(proto, {"x": x}, 1e-5)
    with torch.no_grad():
        assert torch.allclose(after.module(torch.from_numpy(x)), built.module.eval()(torch.from_numpy(x)), atol=1e-5)


def test_equal_vectors_stored_once_train_apart_and_are_unshared():
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Identity", ["b1"], ["b2"]),
        helper.make_node("Conv", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Conv", ["h", "w2", "b2"], ["g"]),
        helper.make_node("Conv", ["g", "w2", "b1"], ["y"]),
    ]
    arrays = {"w1": weight, "w2": weight + 1, "b1": np.zeros(4, np.float32)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 4, 2, 2])],
        [helper.make_tensor_value_info("y", 1, [1, 4, 2, 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))
    built = build(model)
    x = torch.randn(1, 4, 2, 2)
    with torch.no_grad():
        biases = [parameter for name, parameter in built.module.named_parameters() if name.endswith("bias")]
        for index, bias in enumerate(biases):
            bias.fill_(index + 1.0)
        want = built.module(x)
    built.write_back(model)
    again = build(model)
    with torch.no_grad():
        assert torch.equal(again.module(x), want)
    onnx.checker.check_model(ir.serde.serialize_model(model))


def test_a_matrix_used_twice_is_one_parameter():
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 4])], [helper.make_tensor_value_info("y", 1, [2, 4])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = build(ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto)))
    assert len(list(built.module.parameters())) == 1


@pytest.mark.parametrize("dtype", ["FLOAT16", "BFLOAT16", "DOUBLE"])
def test_dtypes_are_kept(dtype):
    weight = ir.tensor(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)).numpy()
    kind = ir.DataType[dtype]
    w = ir.Value(name="fc.weight", const_value=ir.tensor(weight.astype(kind.numpy()), dtype=kind, name="fc.weight"))
    x = ir.Value(name="x", shape=ir.Shape([2, 3]), type=ir.TensorType(kind))
    node = ir.node("Gemm", [x, w], {"transB": 1})
    node.outputs[0].name = "y"
    node.outputs[0].shape = ir.Shape([2, 4])
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[w], opset_imports={"": 17}, name="g")
    model = ir.Model(graph, ir_version=10)
    built = build(model)
    assert (
        str(built.module.fc.weight.dtype)
        == {"FLOAT16": "torch.float16", "BFLOAT16": "torch.bfloat16", "DOUBLE": "torch.float64"}[dtype]
    )
    with torch.no_grad():
        built.module.fc.weight.mul_(2)
    built.write_back(model)
    stored = model.graph.initializers["fc.weight"].const_value
    assert stored.dtype == kind
    np.testing.assert_array_equal(stored.numpy().astype(np.float64), weight.astype(kind.numpy()).astype(np.float64) * 2)


def test_dropout_only_while_training(agrees):
    built = agrees("Dropout", np.ones((4, 100), np.float32), opset=11, ratio=0.5)
    assert (built.module.train()(torch.ones(4, 100)) == 0).any()
