"""Models that are trained though they are odd: channels last, half precision, computed scales, initializers as inputs.

Each is trained by `chanc train`'s function and by a search.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.data.dataset import make  # noqa: E402
from chanc.errors import DataError, ModelError  # noqa: E402
from chanc.ir import load  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.graphs import Graph, Tensor  # noqa: E402
from chanc.training.images import layout_of  # noqa: E402

DIGITS = {"epochs": 6, "batch_size": 32, "optimizer": "adamw", "lr": 0.02, "crop_padding": 0,
          "limit_train": 600, "limit_test": 100}  # fmt: skip


def body(x: Tensor, classes: int = 10) -> Tensor:
    return x.conv(8).bn().relu().conv(12, stride=2).bn().relu().gap().flatten().gemm(classes)


def last(channels: int = 1, *, opened: bool = False, classes: int = 10, before: str = "") -> ir.Model:
    """Channels last: [N, 8, 8, C], a Transpose first, and `before` it an operator."""
    graph = Graph(scale=3**-0.5)
    dynamic = {0: "n", 1: "h", 2: "w"} if opened else {0: "n"}
    x = graph.input("image", [2, 8, 8, channels], dynamic=dynamic)
    if before == "Pad":
        x = x.op("Pad", graph.integers([0, 1, 1, 0, 0, 1, 1, 0]))
    elif before == "Mul":
        x = x * graph.constant(np.ones(channels, np.float32)) - graph.constant(np.zeros(channels, np.float32))
    elif before == "Cast":
        x = x.op("Cast", to=int(TensorProto.FLOAT))
    return graph.ir(body(x.transpose(0, 3, 1, 2), classes))


def first(channels: int = 1, *, classes: int = 10) -> ir.Model:
    graph = Graph(scale=3**-0.5)
    return graph.ir(body(graph.input("image", [2, channels, 8, 8], dynamic={0: "n"}), classes))


def colours() -> datasets.Dataset:
    """Ten classes that lie in which pixel is lit, and in which colour: scrambled pictures hide them."""
    random = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count, dtype=np.int64) % 10
        images = random.integers(0, 80, (count, 3, 8, 8))
        images[np.arange(count), labels % 3, 1 + labels // 3] = 255
        return images.astype(np.uint8), labels

    return make("lit", part(300), part(100))


def archive(data: datasets.Dataset, path: Path) -> Path:
    np.savez(path, train_images=data.train_images, train_labels=data.train_labels, test_images=data.test_images,
             test_labels=data.test_labels)  # fmt: skip
    return path


MODELS = {
    "NHWC": lambda: last(3), "NHWC open": lambda: last(3, opened=True), "NHWC grey": last,
    "NHWC grey open": lambda: last(opened=True), "NHWC padded": lambda: last(3, before="Pad"),
    "NHWC scaled": lambda: last(3, opened=True, before="Mul"), "NHWC cast": lambda: last(3, before="Cast"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_channels_last_is_told_by_the_analysis(name: str) -> None:
    model = MODELS[name]()
    assert layout_of(model) == "NHWC"
    fitted = Classification().fit(model, colours())
    assert fitted.shape == (1 if "grey" in name else 3, 8, 8)
    assert fitted.input.layout == "NHWC"


def test_channels_first_is_told_by_the_analysis() -> None:
    assert layout_of(first()) == layout_of(first(3)) == "NCHW"
    graph = Graph()
    x = graph.input("image", [2, 8, 3, 3], dynamic={0: "n", 2: "h", 3: "w"})
    assert layout_of(graph.ir(body(x))) == "NCHW", "eight channels of pictures that are 3 wide"


def test_grey_channels_last_with_a_reshape_in_place_of_the_transpose() -> None:
    graph = Graph()
    x = graph.input("image", [2, 8, 8, 1], dynamic={0: "n"})
    assert layout_of(graph.ir(body(x.reshape(-1, 1, 8, 8)))) == "NHWC"


def test_a_flattened_picture_is_told_by_its_sizes_or_refused() -> None:
    def flat(*shape: int) -> ir.Model:
        graph = Graph()
        return graph.ir(graph.input("image", [2, *shape], dynamic={0: "n"}).flatten().gemm(10))

    assert layout_of(flat(1, 8, 8)) == layout_of(flat(3, 8, 8)) == "NCHW"
    assert layout_of(flat(8, 8, 3)) == "NHWC"
    for shape in ((8, 8, 8), (3, 8, 3), (1, 8, 1)):
        with pytest.raises(ModelError, match=r"which axis of the input 'image' .* holds the channels can't be told"):
            layout_of(flat(*shape))
    model = flat(8, 8, 8)
    model.metadata_props["chanc.input.layout"] = "NHWC"
    assert layout_of(model) == "NHWC"


def test_channels_in_the_middle_are_refused() -> None:
    graph = Graph()
    x = graph.input("image", [2, 8, 3, 8], dynamic={0: "n"})
    with pytest.raises(ModelError, match="holds the channels can't be told"):
        layout_of(graph.ir(body(x.transpose(0, 2, 1, 3))))


@pytest.mark.parametrize("opened", [False, True])
def test_channels_last_learns_as_its_twin_does(tmp_path: Path, opened: bool) -> None:
    data = archive(colours(), tmp_path / "lit.npz")
    recipe = {"epochs": 8, "batch_size": 50, "lr": 0.1, "crop_padding": 0, "flip": False}
    said: list[str] = []
    twin = chanc.train(first(3), data, **recipe)
    done = chanc.train(last(3, opened=opened), data, say=said.append, **recipe)
    assert twin.top1 > 0.6
    assert done.top1 == twin.top1
    assert "channels last (NHWC)" in said[0]
    own = [str(value.shape) for value in done.model.graph.inputs]
    assert own == [str(value.shape) for value in last(3, opened=opened).graph.inputs]


def test_channels_last_is_searched(tmp_path: Path) -> None:
    run = searched(last(opened=True), tmp_path)
    assert [str(size) for size in load(run.model).graph.inputs[0].shape] == ["n", "h", "w", "1"]


def searched(model: ir.Model, tmp_path: Path) -> chanc.Run:
    run = chanc.search(model, data="digits", algo="random", trials=2, epochs=1, limit_train=200, limit_test=50,
                       out=tmp_path / "run", final_epochs=1, compare=())  # fmt: skip
    assert len(run.trials) == 2
    return run


def halved(kind: str) -> ir.Model:
    """A network all in float16 or bfloat16, or one that takes and gives float32 and casts inside."""
    proto = ir.serde.serialize_model(first())
    dtype = TensorProto.BFLOAT16 if kind == "bfloat16" else TensorProto.FLOAT16
    numbers = [(tensor, numpy_helper.to_array(tensor)) for tensor in proto.graph.initializer]
    for tensor, array in numbers:
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(helper.tensor_dtype_to_np_dtype(dtype)), tensor.name))
    ends = [*proto.graph.input, *proto.graph.output]
    if kind != "cast":
        for value in ends:
            value.type.tensor_type.elem_type = dtype
    else:
        source, target = proto.graph.input[0].name, proto.graph.output[0].name
        proto.graph.node[0].input[0] = "half"
        proto.graph.node[-1].output[0] = "said"
        proto.graph.node.insert(0, helper.make_node("Cast", [source], ["half"], to=dtype))
        proto.graph.node.append(helper.make_node("Cast", ["said"], [target], to=TensorProto.FLOAT))
    del proto.graph.value_info[:]
    proto.opset_import[0].version = 22
    onnx.checker.check_model(proto)
    return ir.serde.deserialize_model(proto)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "cast"])
def test_half_precision_trains_in_float32_and_stays_half(kind: str) -> None:
    model = halved(kind)
    types = {name: value.dtype for name, value in model.graph.initializers.items()}
    done = chanc.train(model, "digits", **DIGITS)
    assert done.top1 > 0.3
    assert {name: value.dtype for name, value in done.model.graph.initializers.items()} == types
    assert [(value.dtype, str(value.shape)) for value in done.model.graph.inputs] == [
        (value.dtype, str(value.shape)) for value in model.graph.inputs
    ]
    if kind == "bfloat16":
        return  # onnxruntime has no kernels for it on a CPU
    data = datasets.load("digits", limit_train=400, limit_test=100)
    pixels = (data.test_images / 255 - np.reshape(data.mean, (1, 1, 1, 1))) / np.reshape(data.std, (1, 1, 1, 1))
    fed = pixels.astype(model.graph.inputs[0].dtype.numpy())
    outputs = ort.run(done.model, {model.graph.inputs[0].name: fed})[0]
    assert float(np.mean(outputs.argmax(1) == data.test_labels)) == pytest.approx(done.top1, abs=0.02)


def test_half_precision_is_searched(tmp_path: Path) -> None:
    best = load(searched(halved("float16"), tmp_path).model)
    floats = {value.dtype for value in best.graph.initializers.values() if value.dtype.is_floating_point()}
    assert floats == {ir.DataType.FLOAT16}


def scaled_norm(kind: str, opset: int = 21) -> ir.Model:
    """A BatchNormalization one of whose four vectors is computed: out of DequantizeLinear, or as a product."""
    graph = Graph(opset=opset, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8)
    vectors = [graph.vector(8, 0.5, 1.5), graph.vector(8), graph.vector(8), graph.vector(8, 0.5, 1.5)]
    if kind == "dequantised":
        codes = graph.constant(np.arange(8, dtype=np.int8) + 1)
        vectors[0] = graph.op("DequantizeLinear", codes, graph.constant(np.float32(0.2)))
    else:
        place = {"scale": 0, "mean": 2, "variance": 3}[kind]
        vectors[place] = vectors[place] * graph.vector(8, 0.5, 1.5)
    return graph.ir(x.op("BatchNormalization", *vectors).relu().conv(8).gap().flatten().gemm(10))


@pytest.mark.parametrize(
    ("kind", "opset"),
    [
        ("dequantised", 21), ("variance", 17),
        *(pytest.param(*other, marks=pytest.mark.nightly) for other in
          [("dequantised", 13), ("scale", 17), ("mean", 17)]),
    ],
)  # fmt: skip
def test_a_norm_with_a_computed_vector(tmp_path: Path, kind: str, opset: int) -> None:
    model = scaled_norm(kind, opset)
    chanc.codegen(model, tmp_path / "source")
    done = chanc.train(model, "digits", **DIGITS)
    assert done.top1 > done.before
    norm = next(node for node in model.graph if node.op_type == "BatchNormalization")
    for value in norm.inputs[3:] if kind == "scale" else ():
        before, after = (one.graph.initializers[value.name].const_value.numpy() for one in (model, done.model))
        assert np.array_equal(before, after), "statistics that can't be measured are no weights either"
    searched(model, tmp_path)


def test_initializers_that_are_inputs(tmp_path: Path) -> None:
    proto = ir.serde.serialize_model(first())
    proto.ir_version = 3
    proto.opset_import[0].version = 8
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del proto.graph.value_info[:]
    model = ir.serde.deserialize_model(proto)
    done = chanc.train(model, "digits", **DIGITS)
    assert done.top1 > 0.3
    assert [value.name for value in done.model.graph.inputs] == [value.name for value in model.graph.inputs]
    searched(model, tmp_path)


def rounded() -> ir.Model:
    """A convolution whose logits are rounded: what comes out stands for other numbers than what went in."""
    graph = Graph(scale=3**-0.5)
    logits = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8).relu().gap().flatten().gemm(10)
    zero, before, after = (graph.constant(number) for number in (np.int8(0), np.float32(0.1), np.float32(0.2)))
    return graph.ir(logits.op("QuantizeLinear", before, zero).op("DequantizeLinear", after, zero))


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32])
def test_an_input_of_whole_numbers_takes_pixels_as_they_are(kind: int) -> None:
    graph = Graph(scale=3**-0.5)
    x = graph.input("image", [2, 8, 8, 1], dynamic={0: "n"}, dtype=int(kind)).op("Cast", to=int(TensorProto.FLOAT))
    model = graph.ir(body((x / graph.constant(np.float32(255))).transpose(0, 3, 1, 2)))
    said: list[str] = []
    done = chanc.train(model, "digits", say=said.append, **DIGITS)
    assert said[-1] == "note: the input is pixels, channels last (NHWC): it takes whole numbers"
    data = datasets.load("digits", limit_train=600, limit_test=100)
    fed = data.test_images.transpose(0, 2, 3, 1).astype(model.graph.inputs[0].dtype.numpy())
    outputs = ort.run(done.model, {"image": np.ascontiguousarray(fed)})[0]
    assert float(np.mean(outputs.argmax(1) == data.test_labels)) == pytest.approx(done.top1)
    assert done.top1 > 0.3
    with pytest.raises(DataError, match="of whole numbers: it takes pixels of 0 to 255, not pixels / 255"):
        chanc.train(model, "digits", normalise="none", **DIGITS)


def test_a_model_without_gradients_is_refused_in_a_line() -> None:
    with pytest.raises(ModelError, match="nothing in the model trains"):
        chanc.train(rounded(), "digits", **DIGITS)
