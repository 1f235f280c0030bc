from __future__ import annotations

import gzip
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.errors import ModelError
from chanc.ir import like, load, save, to_bytes, to_proto
from chanc.ir.load import EXTERNAL_KEY

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared")) / "models"
REAL = sorted(SHARED.glob("third_party/*.onnx")) + sorted(SHARED.glob("skeletons/*.gz"))


def small(opset: int = 17, ir_version: int = 9) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((32, 8, 3, 3)).astype(np.float32), "w")
    weight.doc_string = "filters"
    bias = numpy_helper.from_array(rng.standard_normal(32).astype(np.float32), "b")
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["y"], "relu")]
    nodes[0].metadata_props.add(key="where", value="layer1")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    model.metadata_props.add(key="author", value="someone")
    model.doc_string = "a net"
    return model


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what onnx says twice: set but empty texts, and that data is where it is by default."""
    for entry in (*model.opset_import, *model.graph.node):
        for field in ("domain", "doc_string"):
            if not getattr(entry, field, "x"):
                entry.ClearField(field)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.DEFAULT:
            tensor.ClearField("data_location")
    return model


def typed(dtype: int, count: int) -> onnx.TensorProto:
    if dtype == TensorProto.STRING:
        return helper.make_tensor("t", dtype, [count], [b"x"] * count)
    values = np.random.default_rng(1).integers(0, 2, count)
    return helper.make_tensor("t", dtype, [count], values.astype(helper.tensor_dtype_to_np_dtype(dtype)))


def holding(tensor: onnx.TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["t"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", tensor.data_type, list(tensor.dims))],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)


def test_round_trip_of_every_source(tmp_path: Path) -> None:
    proto = small()
    onnx.save(proto, tmp_path / "a.onnx")
    for source in (tmp_path / "a.onnx", str(tmp_path / "a.onnx"), proto, ir.from_proto(proto)):
        model = load(source)
        expected = ir.to_proto(source) if isinstance(source, ir.Model) else proto
        assert to_proto(model) == expected
        save(model, tmp_path / "b.onnx")
        assert onnx.load(tmp_path / "b.onnx") == expected
        assert (tmp_path / "b.onnx").read_bytes() == to_bytes(model)
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize("count", [4, 4096])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("dtype", sorted(set(TensorProto.DataType.values()) - {0}))
def test_every_element_type_is_carried(tmp_path: Path, dtype: int, raw: bool, count: int) -> None:
    if dtype not in {kind.value for kind in ir.DataType}:
        pytest.skip("onnx_ir 1.0 has no 6-bit floats")
    tensor = typed(dtype, count)
    if raw and dtype != TensorProto.STRING:
        tensor = helper.make_tensor("t", dtype, [count], ir.from_proto(tensor).tobytes(), raw=True)
    proto = holding(tensor)
    onnx.save(proto, tmp_path / "a.onnx")
    for source in (proto, tmp_path / "a.onnx"):
        model = load(source)
        assert to_proto(model) == proto
        before = ir.from_proto(tensor)
        after = model.graph.initializers["t"].const_value
        assert after is not None
        assert after.dtype == before.dtype
        if dtype != TensorProto.STRING:
            assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize("opset", range(7, 27))
def test_versions_are_kept(tmp_path: Path, opset: int) -> None:
    proto = small(opset, ir_version=4 + opset % 9)
    save(load(proto), tmp_path / "a.onnx")
    after = onnx.load(tmp_path / "a.onnx")
    assert after.ir_version == proto.ir_version
    assert after.opset_import == proto.opset_import


def test_the_callers_object_is_never_changed() -> None:
    proto = small()
    before = proto.SerializeToString()
    model = load(proto)
    model.graph.initializers["w"].name = "renamed"
    save_bytes = to_bytes(model)
    assert proto.SerializeToString() == before
    assert b"renamed" in save_bytes

    original = ir.from_proto(proto)
    copy = load(original)
    copy.graph.remove(copy.graph[1], safe=False)
    copy.graph[0].attributes["group"] = ir.AttrInt64("group", 7)
    copy.graph.initializers["w"].const_value = ir.tensor(np.zeros((1,), np.float32))
    assert ir.to_proto(original) == ir.to_proto(ir.from_proto(proto))
    assert load(original, copy=False) is original


def test_weights_of_an_ir_model_are_shared_and_meta_goes_along() -> None:
    original = ir.from_proto(small())
    original.meta["note"] = 1
    original.graph[0].meta["group"] = "g"
    copy = load(original)
    assert copy.graph.initializers["w"].const_value is original.graph.initializers["w"].const_value
    assert copy.meta["note"] == 1
    assert copy.graph[0].meta["group"] == "g"


def test_a_tensor_under_two_names(tmp_path: Path) -> None:
    model = load(small())
    weight = model.graph.initializers["w"]
    twin = ir.Value(name="w2", type=weight.type, shape=weight.shape, const_value=weight.const_value)
    model.graph.register_initializer(twin)
    model.graph.append(ir.node("Identity", [twin]))
    proto = to_proto(model)
    assert [t.name for t in proto.graph.initializer] == ["w", "b", "w2"]
    save(model, tmp_path / "a.onnx")
    assert onnx.load(tmp_path / "a.onnx") == proto


def test_non_contiguous_and_lazy_tensors(tmp_path: Path) -> None:
    model = load(small())
    array = np.random.default_rng(2).standard_normal((8, 32, 3, 3)).astype(np.float32).transpose(1, 0, 2, 3)
    model.graph.initializers["w"].const_value = ir.Tensor(array)
    save(model, tmp_path / "a.onnx")
    saved = {t.name: t for t in onnx.load(tmp_path / "a.onnx").graph.initializer}
    np.testing.assert_array_equal(numpy_helper.to_array(saved["w"]), array)
    half = array.astype(ml_dtypes.bfloat16)
    lazy = ir.LazyTensor(lambda: ir.Tensor(half), ir.DataType.BFLOAT16, ir.Shape(half.shape), name="w")
    model.graph.initializers["w"].const_value = lazy
    model.graph.initializers["w"].type = ir.TensorType(ir.DataType.BFLOAT16)
    loaded = load(model).graph.initializers["w"].const_value
    assert loaded is not None
    np.testing.assert_array_equal(loaded.numpy(), half)


def test_external_data_in_and_out(tmp_path: Path) -> None:
    proto = small()
    folder = tmp_path / "in"
    folder.mkdir()
    onnx.save(proto, folder / "a.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = load(folder / "a.onnx")
    (tmp_path / "out").mkdir()
    save(model, tmp_path / "out" / "b.onnx")
    assert sorted(os.listdir(tmp_path / "out")) == ["b.onnx", "b.onnx.data"]
    assert plain(onnx.load(tmp_path / "out" / "b.onnx")) == plain(small())
    again = load(load(tmp_path / "out" / "b.onnx"))
    weight = again.graph.initializers["w"].const_value
    assert weight is not None
    assert weight.name == "w"
    # Over its own data, twice: the values are held by the open file, not by its name.
    save(again, tmp_path / "out" / "b.onnx")
    save(again, tmp_path / "out" / "b.onnx")
    assert plain(onnx.load(tmp_path / "out" / "b.onnx")) == plain(small())


def test_external_data_of_another_base_and_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    onnx.save(small(), folder / "a.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "link.onnx").symlink_to(folder / "a.onnx")
    (tmp_path / "w.bin").symlink_to(folder / "w.bin")
    assert to_proto(load(tmp_path / "link.onnx")) == small()
    assert to_proto(load(ir.load(folder / "a.onnx"))) == ir.to_proto(ir.from_proto(small()))
    monkeypatch.chdir(folder)
    assert to_proto(load("a.onnx")) == small()
    assert to_proto(load(onnx.load("a.onnx", load_external_data=False))) == small()


def test_a_failed_save_leaves_the_old_files(tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    target.write_bytes(b"old")
    model = load(small())

    def fail() -> ir.Tensor:  # type: ignore[type-arg]
        raise OSError(5, "the tape broke")

    weight = model.graph.initializers["w"]
    lazy = ir.LazyTensor(fail, ir.DataType.FLOAT, ir.Shape([32, 8, 3, 3]), name="w")
    weight.const_value = lazy
    with pytest.raises(OSError, match="the tape broke"):
        save(model, target)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.onnx"]
    assert weight.const_value is lazy


@pytest.mark.parametrize("external", [False, True])
def test_a_full_disk_leaves_nothing(tiny_disk: Path, external: bool) -> None:
    model = load(small())
    weight = model.graph.initializers["w"]
    weight.const_value, weight.shape = ir.tensor(np.zeros((100, 8, 10, 10), np.float32)), None
    if external:
        model.meta[EXTERNAL_KEY] = True
    with pytest.raises(OSError, match="No space left") as caught:
        save(model, tiny_disk / "a.onnx")
    assert caught.value.filename == str(tiny_disk / ("a.onnx.data" if external else "a.onnx"))
    assert os.listdir(tiny_disk) == []


def test_a_tensor_that_lies_about_its_size_is_not_written(tmp_path: Path) -> None:
    model = load(small())
    lie = ir.LazyTensor(
        lambda: ir.tensor(np.zeros(5, np.float32)), ir.DataType.FLOAT, ir.Shape([32, 8, 3, 3]), name="w"
    )
    model.graph.initializers["w"].const_value = lie
    with pytest.raises(ModelError, match=r"'w' .* 20 bytes, .* 9216"):
        save(model, tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_like_gives_back_the_kind_that_came_in() -> None:
    proto = small()
    model = load(proto)
    assert isinstance(like(model, proto), onnx.ModelProto)
    assert like(model, "some/path.onnx") is model
    assert like(model, ir.from_proto(proto)) is model


def test_a_model_over_2_gb_is_no_model_proto() -> None:
    model = load(small())
    huge = ir.LazyTensor(lambda: None, ir.DataType.FLOAT, ir.Shape([1 << 15, 1 << 15]), name="w")
    model.graph.initializers["w"].const_value = huge
    with pytest.raises(ModelError, match="2 GB or more"):
        to_bytes(model)


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="no shared models")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.nightly) if path.suffix == ".gz" else path for path in REAL],
    ids=lambda path: path.name,
)
def test_real_models_are_identical_after_load_and_save(path: Path, tmp_path: Path) -> None:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    (tmp_path / "in.onnx").write_bytes(data)
    before = onnx.load(tmp_path / "in.onnx")
    save(load(tmp_path / "in.onnx"), tmp_path / "out.onnx")
    after = onnx.load(tmp_path / "out.onnx")
    assert to_proto(load(before)) == after
    for part in ("initializer", "node", "input", "output", "name", "doc_string"):
        assert getattr(plain(after).graph, part) == getattr(plain(before).graph, part)
    assert after.opset_import == before.opset_import
    assert after.ir_version == before.ir_version
    assert sorted(after.metadata_props, key=str) == sorted(before.metadata_props, key=str)
    produced = {name for node in before.graph.node for name in node.output} | {t.name for t in before.graph.initializer}
    produced -= {value.name for value in before.graph.output}
    infos = {value.name: value for value in after.graph.value_info}
    assert infos == {value.name: value for value in before.graph.value_info if value.name in produced}


def test_metadata_of_a_small_initializer_is_written_once():
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    weight.metadata_props.add(key="origin", value="here")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    kept = to_proto(load(model)).graph.initializer[0].metadata_props
    assert [(entry.key, entry.value) for entry in kept] == [("origin", "here")]
    loaded = load(model)
    loaded.graph.initializers[weight.name].const_value.metadata_props["origin"] = "there"
    assert [entry.value for entry in to_proto(loaded).graph.initializer[0].metadata_props] == ["there"]


def test_nodes_out_of_order_are_read_in_order() -> None:
    """What converters to half precision leave behind; onnxruntime runs it."""
    proto = small()
    proto.graph.node.reverse()
    assert [node.op_type for node in load(proto).graph] == ["Conv", "Relu"]


def test_a_stale_type_of_an_initializer_gives_way_to_its_data() -> None:
    proto = small()
    proto.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT16, [32, 8, 3, 3]))
    assert load(proto).graph.initializers["w"].dtype == ir.DataType.FLOAT
    assert to_proto(load(proto)).graph.initializer[0].data_type == TensorProto.FLOAT


def test_weights_of_a_file_are_read_where_they_lie_and_only_read(tmp_path: Path) -> None:
    """Small ones as well; what was read may be shared with a copy."""
    onnx.save(small(), tmp_path / "m.onnx")
    held = [value.const_value for value in load(tmp_path / "m.onnx").graph.initializers.values()]
    assert [type(tensor) for tensor in held] == [ir.Tensor, ir.Tensor]
    assert not any(tensor.numpy().flags.writeable for tensor in held if tensor is not None)
