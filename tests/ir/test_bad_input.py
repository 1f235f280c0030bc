"""Every bad input is one clear `ModelError` line that says what is wrong with what."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.errors import ModelError
from chanc.ir import check, load

FLOAT = TensorProto.FLOAT


def net(*, opset: int = 17, channels: int = 8) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["y"], "relu")],
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["N", channels, 16, 16])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(rng.standard_normal((32, 8, 3, 3)).astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def refused(source: object, match: str, *, deep: bool = False) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        check(load(source)) if deep else load(source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def written(path: Path, data: bytes | onnx.ModelProto) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"hello\nworld\n", "a text file"),
        (b'{"graph": {}}', "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (b"\x08\x09", "it has no graph"),
        (b"\x3a\x00", "it has no ir_version"),
        (b"\x08\x09\x3a\x00", "imports no operator set"),
        ("naïve text, but of some length\n".encode() * 20, "not an ONNX model"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, match: str) -> None:
    path = written(tmp_path / "a.onnx", content)
    refused(path, match)
    refused(path, f"^{path}: ")


def test_other_messages_are_no_model(tmp_path: Path) -> None:
    proto = net()
    refused(written(tmp_path / "graph.onnx", proto.graph.SerializeToString()), "not an ONNX model")
    refused(written(tmp_path / "node.onnx", proto.graph.node[0].SerializeToString()), "not an ONNX model")
    refused(written(tmp_path / "t.onnx", proto.graph.initializer[0].SerializeToString()), "not an ONNX model")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "missing.onnx", "No such file")
    refused(tmp_path, "a folder, not a model file")
    refused(tmp_path / "a\0b.onnx", "null")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "not a regular file")
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    refused(tmp_path / "loop.onnx", "symbolic links")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.onnx", net())
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize("source", [None, 3, [1], object(), np.zeros(3)])
def test_objects_that_are_no_model(source: object) -> None:
    refused(source, "can't read a model from a")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = net().SerializeToString()
    for length in (*range(1, 120), *range(120, len(data), 97), len(data) - 1):
        refused(written(tmp_path / "a.onnx", data[:length]), "a.onnx")


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    data = bytearray(net().SerializeToString())
    rng = np.random.default_rng(0)
    head = [*range(120), *range(len(data) - 80, len(data))]
    lines = []
    for _ in range(400):
        broken = bytearray(data)
        for position in rng.choice(head, 3):
            broken[position] = rng.integers(0, 256)
        try:
            check(load(written(tmp_path / "a.onnx", bytes(broken))))
        except ModelError as error:
            lines.append(str(error))
    assert len(lines) > 200
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("opset", [1, 6, 27, 28, 1000])
def test_opsets_out_of_range(opset: int) -> None:
    refused(net(opset=opset), f"opset {opset} is not supported, only 7 to 26")
    refused(ir.from_proto(net(opset=opset)), f"opset {opset} is not supported")


Change = Callable[[onnx.ModelProto], object]


def sparse() -> onnx.SparseTensorProto:
    values = helper.make_tensor("s", FLOAT, [1], [1.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [3])


def with_body(proto: onnx.ModelProto) -> onnx.GraphProto:
    """An If with a body at the end of the graph."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["t"])], "body", [], [helper.make_tensor_value_info("t", FLOAT, None)]
    )
    proto.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=body, else_branch=body))
    return proto.graph.node[-1].attribute[0].g


CHANGES: dict[str, tuple[Change, str]] = {
    "sparse initializer": (lambda p: p.graph.sparse_initializer.append(sparse()), "sparse initializers .'s'"),
    "sparse in a body": (lambda p: with_body(p).sparse_initializer.append(sparse()), "sparse initializers"),
    "sparse attribute": (
        lambda p: p.graph.node.insert(0, helper.make_node("Constant", [], ["k"], "k", sparse_value=sparse())),
        "Constant 'k' has a sparse tensor",
    ),
    "training": (lambda p: p.training_info.add(), "training_info"),
    "unnamed initializer": (lambda p: p.graph.initializer[0].ClearField("name"), "initializer 0 has no name"),
    "two initializers": (lambda p: p.graph.initializer.append(p.graph.initializer[0]), "two initializers .* 'w'"),
    "two inputs": (lambda p: p.graph.input.append(p.graph.input[0]), "two graph inputs have the name 'x'"),
    "two outputs": (lambda p: p.graph.node[1].output.__setitem__(0, "c"), "redeclared|defined"),
    "no input": (lambda p: p.graph.node[0].input.__setitem__(0, "nowhere"), "'conv'.*'nowhere' is not defined"),
    "no output": (lambda p: setattr(p.graph.output[0], "name", "nowhere"), "output 'nowhere' is not defined"),
    "no operator": (lambda p: p.graph.node[0].ClearField("op_type"), "the node has no operator"),
    "no import": (lambda p: setattr(p.graph.node[1], "domain", "com.me"), "'com.me' is not imported"),
    "import twice": (lambda p: p.opset_import.add(domain="", version=9), "opset imported twice"),
    "short data": (lambda p: set_raw(p, bytes(100)), "'w' holds 100 bytes, but FLOAT .32, 8, 3, 3. takes 9216"),
    "long data": (lambda p: set_raw(p, bytes(9220)), "'w' holds 9220 bytes"),
    "short small data": (
        lambda p: add(p, TensorProto(name="k", data_type=FLOAT, dims=[3], raw_data=bytes(8))),
        "'k' holds 8 bytes, but FLOAT .3. takes 12",
    ),
    "short values": (lambda p: short_values(p), "'k' holds 2 values, but FLOAT .3. takes 3"),
    "negative dim": (lambda p: p.graph.initializer[0].dims.__setitem__(0, -32), "'w'"),
    "huge dim": (lambda p: p.graph.initializer[0].dims.__setitem__(0, 1 << 60), "'w' holds 9216 bytes"),
    "no such type": (lambda p: setattr(p.graph.initializer[0], "data_type", 99), "'w'.*element type .99|99"),
    "declared otherwise": (
        lambda p: p.graph.value_info.append(helper.make_tensor_value_info("w", FLOAT, [32, 9, 3, 3])),
        "'w' is declared .32, 9, 3, 3., its data is .32, 8, 3, 3.",
    ),
    "untyped attribute": (lambda p: p.graph.node[0].attribute.add(name="group", i=1), "'group' has no type"),
    "attribute without a tensor": (
        lambda p: p.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR),
        "'value' has no value",
    ),
}


def set_raw(proto: onnx.ModelProto, data: bytes) -> None:
    proto.graph.initializer[0].raw_data = data


def add(proto: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    proto.graph.initializer.append(tensor)


def short_values(proto: onnx.ModelProto) -> None:
    add(proto, TensorProto(name="k", data_type=FLOAT, dims=[3], float_data=[1.0, 2.0]))


@pytest.mark.parametrize("name", CHANGES)
def test_broken_models(name: str, tmp_path: Path) -> None:
    change, match = CHANGES[name]
    proto = net()
    change(proto)
    refused(proto, match)
    refused(written(tmp_path / "a.onnx", proto), match)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    data = net().SerializeToString().replace(b"relu", b"r\xff\xfeu")
    refused(written(tmp_path / "a.onnx", data), "not UTF-8")


DEEP: dict[str, tuple[Change, str]] = {
    "conv channels": (lambda p: p.CopyFrom(net(channels=9)), "Conv 'conv': the input has 9 channels"),
    "conv groups": (
        lambda p: p.graph.node[0].attribute.append(helper.make_attribute("group", 3)),
        "the input has 8 channels.*8 x 3 groups",
    ),
    "conv kernel": (
        lambda p: p.graph.node[0].attribute.append(helper.make_attribute("kernel_shape", [5])),
        "not a valid model",
    ),
    "too few inputs": (lambda p: p.graph.node[0].input.pop(), "Conv 'conv' .*: has 1 inputs, Conv takes 2 to 3"),
    "an input left out": (lambda p: p.graph.node[0].input.__setitem__(0, ""), "Conv 'conv' .*: lacks its input 'X'"),
    "too many inputs": (lambda p: p.graph.node[1].input.extend(["x"] * 9), "inputs, .* takes"),
    "too many outputs": (lambda p: p.graph.node[0].output.append("d"), "Conv 'conv' .*: has 2 outputs, Conv takes 1"),
    "rank": (lambda p: p.graph.input[0].type.tensor_type.shape.dim.pop(), "not a valid model"),
    "unknown operator": (lambda p: setattr(p.graph.node[1], "op_type", "Rule"), "Rule"),
    "attribute of a wrong type": (
        lambda p: p.graph.node[0].attribute.append(helper.make_attribute("pads", "same")),
        "pads",
    ),
    "no data": (lambda p: p.graph.initializer[0].ClearField("raw_data"), "'w' has a shape but no data"),
    "element types": (lambda p: p.graph.initializer[0].CopyFrom(doubles()), "not a valid model"),
}


def doubles() -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros((32, 8, 3, 3)), "w")


@pytest.mark.parametrize("name", DEEP)
def test_models_that_contradict_themselves(name: str) -> None:
    change, match = DEEP[name]
    proto = net()
    change(proto)
    refused(proto, match, deep=True)


def test_channels_of_transposed_convolutions_and_norms() -> None:
    proto = net()
    scale = [numpy_helper.from_array(np.ones(31, np.float32), name) for name in "abmv"]
    proto.graph.initializer.extend(scale)
    proto.graph.node[1].CopyFrom(helper.make_node("BatchNormalization", ["c", "a", "b", "m", "v"], ["y"], "bn"))
    refused(proto, "BatchNormalization.*bn.*31 and 32", deep=True)
    proto = net()
    proto.graph.node[0].op_type = "ConvTranspose"
    refused(proto, "ConvTranspose 'conv': the input has 8 channels, the weight .32, 8, 3, 3. takes 32", deep=True)


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.onnx"
    path.parent.mkdir()
    onnx.save(net(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def relocate(path: Path, location: str) -> None:
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    path.write_bytes(proto.SerializeToString())


def test_external_data_that_is_missing_or_short(external: Path) -> None:
    data = external.with_name("w.bin")
    data.write_bytes(data.read_bytes()[:-1])
    refused(external, "'w.bin' has 9215 bytes, tensor 'w' needs bytes 0 to 9216")
    data.write_bytes(b"")
    refused(external, "'w.bin' has 0 bytes")
    data.unlink()
    refused(external, "external data file 'w.bin' of tensor 'w' can't be read: No such file")
    data.mkdir()
    refused(external, "'w.bin' of tensor 'w' can't be read: Is a directory")
    refused(onnx.load(external, load_external_data=False), "can't be read")


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "sub/../../w.bin", "", "a\0b"])
def test_external_data_outside_the_folder(external: Path, location: str) -> None:
    shutil.copy(external.with_name("w.bin"), external.parent.parent / "w.bin")
    relocate(external, location)
    refused(external, "outside the model's folder")
    # onnx_ir itself doesn't look for a model in the working directory.
    folder = os.getcwd()
    os.chdir(external.parent)
    try:
        refused("a.onnx", "outside the model's folder")
    finally:
        os.chdir(folder)


def test_external_data_behind_a_link_that_leaves_the_folder(external: Path) -> None:
    outside = external.parent.parent / "secret.bin"
    shutil.move(external.with_name("w.bin"), outside)
    external.with_name("w.bin").symlink_to(outside)
    refused(external, "outside the model's folder")


def test_external_data_is_opened_as_the_checker_of_onnx_opens_it(external: Path) -> None:
    """What onnx refuses by its own safety rules is refused here too, and what it opens is opened."""
    folder, data = external.parent, external.with_name("w.bin")
    content = data.read_bytes()
    (folder / "sub").mkdir()
    (folder / "to-sub").symlink_to("sub")

    def link() -> None:
        (folder / "v.bin").write_bytes(content)
        data.symlink_to("v.bin")

    def hard() -> None:
        (folder / "u.bin").write_bytes(content)
        os.link(folder / "u.bin", data)

    cases: dict[str, tuple[str, Callable[[], object], str]] = {
        "a link inside": ("w.bin", link, "behind a symbolic link: 'w.bin'"),
        "a hard link": ("w.bin", hard, "'w.bin' of tensor 'w' can't be read: it has several hard links"),
        "a pipe": ("w.bin", lambda: os.mkfifo(data), "can't be read: not a regular file"),
        "a folder by a link": ("to-sub/w.bin", lambda: None, "behind a symbolic link: 'to-sub/w.bin'"),
        "a folder": ("sub/w.bin", lambda: None, ""),
        "dots that stay inside": ("sub/../sub/w.bin", lambda: None, ""),
    }
    (folder / "sub" / "w.bin").write_bytes(content)
    for name, (location, make, told) in cases.items():
        data.unlink(missing_ok=True)
        make()
        relocate(external, location)
        if name != "a pipe":  # onnx would wait for ever
            try:
                onnx.load(external)
                opened = True
            except onnx.checker.ValidationError:
                opened = False
            assert opened == (not told), name
        if told:
            refused(external, told)
        else:
            load(external)


@pytest.mark.parametrize(
    ("key", "value"), [("length", "12"), ("length", "-5"), ("length", "x"), ("offset", "-4"), ("offset", "9999999")]
)
def test_external_data_with_wrong_numbers(external: Path, key: str, value: str) -> None:
    proto = onnx.load(external, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == key:
            entry.value = value
    external.write_bytes(proto.SerializeToString())
    refused(external, "tensor 'w'")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("dims", [[10**12, 8, 3, 3], [2**40, 2**40], [2**62, 2**62]])
def test_sizes_are_compared_before_memory_is_taken(external: Path, dims: list[int]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for held in ({"raw_data": bytes(2000)}, {"raw_data": bytes(8)}, {"float_data": [1.0]}):
        proto = net()
        proto.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=FLOAT, dims=dims, **held))
        refused(proto, "tensor 'w' holds")
    proto = onnx.load(external, load_external_data=False)
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    refused(written(external, proto), "tensor 'w'")
    entries = {entry.key: entry for entry in proto.graph.initializer[0].external_data}
    proto.graph.initializer[0].external_data.remove(entries["length"])
    refused(written(external, proto), "'w.bin' has 9216 bytes, tensor 'w' needs bytes 0 to")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_nothing_is_printed_beside_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("no input", "no output", "two outputs"):
        change, match = CHANGES[name]
        proto = net()
        change(proto)
        refused(proto, match)
    assert capfd.readouterr() == ("", "")
