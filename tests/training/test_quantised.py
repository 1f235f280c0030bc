"""Quantised models: weights train as floats, and are quantised again at the scales that they have."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.builders import build  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.transforms import float_masters, in_floats  # noqa: E402

RECIPE = {"epochs": 6, "batch_size": 32, "optimizer": "adamw", "lr": 0.01, "crop_padding": 0,
          "limit_train": 600, "limit_test": 200, "normalise": "none"}  # fmt: skip
DRAW = np.random.default_rng(0)


def integers(*shape: int, dtype: type = np.int8, spread: int = 60) -> np.ndarray:
    return (DRAW.normal(0, spread, shape).clip(-100, 100) + (128 if dtype is np.uint8 else 0)).astype(dtype)


def scales(count: int, number: float) -> np.ndarray:
    return (number * DRAW.uniform(0.5, 1.5, count)).astype(np.float32)


def quantised(*, each: bool = True, dtype: type = np.int8, last: bool = False) -> onnx.ModelProto:
    """A convolution and a classifier as onnxruntime's quantiser writes them: QDQ around each, biases of int32."""
    pixels, features = np.float32(1 / 255), np.float32(0.02)
    ws, vs = (scales(8, 0.006), scales(10, 0.004)) if each else (np.float32(0.006), np.float32(0.004))
    zero = np.full(8, 128 if dtype is np.uint8 else 0, dtype), np.full(10, 128 if dtype is np.uint8 else 0, dtype)
    wz, vz = zero if each else (zero[0][0], zero[1][0])
    text = """
    q = QuantizeLinear (image, sx, zx) d = DequantizeLinear (q, sx, zx)
    w = DequantizeLinear <axis = 0> (wq, ws, wz) b = DequantizeLinear <axis = 0> (bq, bs)
    c = Conv <strides = [2, 2]> (d, w, b) r = Relu (c)
    rq = QuantizeLinear (r, sr, zx) rd = DequantizeLinear (rq, sr, zx)
    f = Flatten (rd) v = DequantizeLinear <axis = 0> (vq, vs, vz) a = DequantizeLinear <axis = 0> (aq, as)
    y = Gemm <transB = 1> (f, v, a)
    """
    if last:
        text = "t = Transpose <perm = [0, 3, 1, 2]> (image)" + text.replace("(image,", "(t,")
    weights = {
        "sx": pixels, "zx": np.uint8(0), "sr": features, "wq": integers(8, 1, 3, 3, dtype=dtype), "ws": ws, "wz": wz,
        "bq": integers(8, dtype=np.int32), "bs": pixels * ws, "vq": integers(10, 72, dtype=dtype), "vs": vs, "vz": vz,
        "aq": integers(10, dtype=np.int32), "as": features * vs,
    }  # fmt: skip
    return build("float[N,8,8,1] image" if last else "float[N,1,8,8] image", "float[N,10] y", text, weights)


def wiring(model: onnx.ModelProto) -> list[tuple[str, list[str], list[str]]]:
    return [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node]


KINDS = {"each": {}, "all": {"each": False}, "unsigned": {"dtype": np.uint8}, "last": {"last": True}}


@pytest.mark.parametrize("name", KINDS)
def test_a_quantised_classifier_learns(name: str) -> None:
    before = quantised(**KINDS[name])
    said: list[str] = []
    done = chanc.train(before, "digits", say=said.append, **RECIPE)
    assert "note: 2 quantised weights are trained as floats and quantised again at their scales" in said
    assert done.top1 > 0.7 > done.before
    assert wiring(done.model) == wiring(before)
    old, new = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (before, done.model))
    assert {name for name in old if not np.array_equal(old[name], new[name])} == {"wq", "bq", "vq", "aq"}
    assert all(old[name].dtype == new[name].dtype for name in old)
    data = datasets.load("digits", limit_test=200)
    pixels = data.test_images.astype(np.float32) / 255
    feeds = {"image": pixels.transpose(0, 2, 3, 1) if name == "last" else pixels}
    # Integers multiplied as onnxruntime's optimizer has it, and as wide as on a CPU with VNNI: others add in 16 bits.
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    optimised = onnxruntime.InferenceSession(done.model.SerializeToString(), options, ["CPUExecutionProvider"])
    for (found,) in (ort.run(done.model, feeds, exact=True), optimised.run(None, feeds)):
        assert (found.argmax(1) == data.test_labels).mean() == pytest.approx(done.top1, abs=0.006)


def test_what_is_not_trained_stays_bit_by_bit() -> None:
    model = ir.from_proto(quantised())
    before = ir.to_proto(model).SerializeToString()
    net = trainable(model, Classification())
    assert set(net.masters) == {"wq", "bq", "vq", "aq"}
    net.write_back(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_weights_train_whatever_they_are_called() -> None:
    proto = quantised()
    for node in proto.graph.node:
        node.input[:] = ["onnx::Conv_12_quantized" if name == "wq" else name for name in node.input]
    next(t for t in proto.graph.initializer if t.name == "wq").name = "onnx::Conv_12_quantized"
    parameters = list(trainable(ir.from_proto(proto), Classification()).module.parameters())
    assert [parameter.requires_grad for parameter in parameters] == [True] * 4


def test_the_module_computes_what_the_model_does() -> None:
    proto = quantised()
    image = DRAW.random((5, 1, 8, 8), dtype=np.float32)
    with torch.no_grad():
        (ours,) = trainable(ir.from_proto(proto), Classification()).forward({"image": torch.from_numpy(image)}).values()
    (theirs,) = ort.run(proto, {"image": image}, exact=True)
    assert np.abs(ours.numpy() - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_numbers_beyond_the_range_are_saturated() -> None:
    model = ir.from_proto(quantised())
    names = ["wq", "vq"]
    masters = float_masters(ir.from_proto(quantised()), names)
    before = {name: model.graph.initializers[name].const_value.numpy().copy() for name in names}
    with in_floats(model, masters):
        value = model.graph.initializers["wq"]
        value.const_value = ir.tensor(100 * value.const_value.numpy(), name="wq")
    after = {name: model.graph.initializers[name].const_value.numpy() for name in names}
    assert np.array_equal(after["wq"], np.sign(before["wq"]) * np.where(before["wq"] < 0, 128, 127))
    assert np.array_equal(after["vq"], before["vq"])


def test_weights_in_blocks_stay_and_it_is_said() -> None:
    body = """
    w = DequantizeLinear <axis = 0, block_size = 4> (wq, ws)
    f = Flatten (image) h = MatMul (f, w) y = Add (h, c)
    """
    weights = {"wq": integers(64, 10), "ws": np.full((16, 10), 0.01, np.float32), "c": (10,)}
    model = build("float[N,1,8,8] image", "float y", body, weights, opset=21)
    said: list[str] = []
    done = chanc.train(model, "digits", say=said.append, **{**RECIPE, "epochs": 1})
    assert any("1 quantised weights stay as they are" in line for line in said)
    old, new = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, done.model))
    assert np.array_equal(old["wq"], new["wq"])
    assert not np.array_equal(old["c"], new["c"])


def test_what_has_no_way_home_does_not_train() -> None:
    """A kernel of four bits becomes one of floats, which can't go back."""
    body = """
    w = DequantizeLinear <axis = 0> (wq, ws, wz)
    c = Conv (image, w) r = Relu (c) f = Flatten (r) y = Gemm <transB = 1> (f, v)
    """
    kernel = onnx.helper.make_tensor("wq", onnx.TensorProto.INT4, (4, 1, 3, 3), list(range(-8, 8)) * 2 + [1] * 4)
    zero = onnx.helper.make_tensor("wz", onnx.TensorProto.INT4, (4,), [0] * 4)
    weights = {"ws": np.full(4, 0.1, np.float32), "v": (10, 144)}
    model = build("float[N,1,8,8] image, int4[4,1,3,3] wq, int4[4] wz", "float[N,10] y", body, weights, opset=21)
    del model.graph.input[1:]
    model.graph.initializer.extend([kernel, zero])
    net = trainable(ir.from_proto(model), Classification())
    assert [parameter.requires_grad for parameter in net.module.parameters()] == [False, True]
    done = chanc.train(model, "digits", **{**RECIPE, "epochs": 1})
    pixels = datasets.load("digits", limit_test=200).test_images.astype(np.float32) / 255
    (found,) = ort.run(done.model, {"image": pixels})
    labels = datasets.load("digits", limit_test=200).test_labels
    assert (found.argmax(1) == labels).mean() == pytest.approx(done.top1, abs=0.006)
