from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends import ort
from chanc.errors import DataError, ModelError

ONES = ",".join("1" * 10)
SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[3].parent / "shared")) / "models"
REAL = sorted(SHARED.glob("third_party/*.onnx"))


def model(inputs: str, body: str = "y = Identity (x)", initializers: str = "") -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float y) {initializers} {{ {body} }}'
    built: ir.Model = ir.from_onnx_text(text)
    return built


def test_shapes_types_and_ranges() -> None:
    built = model("float[N, 3, 8] x, int64[2, L] ids, bool[4] mask, double s, float16[1] half, uint8[9] bytes")
    feeds = ort.random_feeds(built, seed=3)
    assert {name: (a.dtype.name, a.shape) for name, a in feeds.items()} == {
        "x": ("float32", (2, 3, 8)),
        "ids": ("int64", (2, 64)),
        "mask": ("bool", (4,)),
        "s": ("float64", ()),
        "half": ("float16", (1,)),
        "bytes": ("uint8", (9,)),
    }
    assert set(np.unique(feeds["ids"])) == {0, 1, 2, 3}
    assert abs(feeds["x"].std() - 1) < 0.3


def test_the_seed_decides() -> None:
    built = model("float[N, 3, 8] x")
    one, same, other = (ort.random_feeds(built, seed=s)["x"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_open_sizes() -> None:
    built = model("float[N, 3, H, W] x")
    assert ort.random_feeds(built, batch=5, sizes={"H": 7, "x:3": 9})["x"].shape == (5, 3, 7, 9)
    assert ort.random_feeds(built, default=10, sizes={"N": 1})["x"].shape == (1, 3, 10, 10)


def test_an_open_channel_axis_takes_what_the_convolution_needs() -> None:
    built = model("float[N, C, H, W] x", "y = Conv <group = 3> (x, w)", "<float[6, 2, 1, 1] w>")
    built.graph.initializers.clear()
    weight = next(v for node in built.graph for v in node.inputs if v is not None and v.name == "w")
    weight.const_value = ir.tensor(np.ones((6, 2, 1, 1), np.float32), name="w")
    built.graph.register_initializer(weight)
    assert ort.random_feeds(built)["x"].shape == (2, 6, 64, 64)


def test_initializers_are_no_inputs() -> None:
    built = model("float[2] x, float[2] w", "y = Add (x, w)")
    built.graph.inputs[1].const_value = ir.tensor(np.ones(2, np.float32), name="w")
    built.graph.register_initializer(built.graph.inputs[1])
    assert list(ort.random_feeds(built)) == ["x"]


@pytest.mark.parametrize("kind", ["string[2]", "seq(float[2])"])
def test_inputs_that_can_not_be_filled(kind: str) -> None:
    with pytest.raises(ModelError, match="input 'x'"):
        ort.random_feeds(model(f"{kind} x"))


SHAPELESS = {
    "Conv": ("y = Conv (x, kernel)", (2, 2, 64, 64)),
    "Transpose": ("a = Transpose <perm = [0, 3, 1, 2]> (x)\ny = Conv (a, kernel)", (2, 64, 64, 2)),
    "past a pool": ("a = Relu (x)\nb = GlobalAveragePool (a)\ny = Conv (b, kernel)", (2, 2, 64, 64)),
    "Gemm": ("y = Gemm <transB = 1> (x, matrix)", (2, 3)),
    "MatMul": ("y = MatMul (x, turned)", (2, 3)),
    "a turn to nowhere": ("y = Transpose <perm = [1, 2, 0]> (x)", (2, 64, 64)),
}


@pytest.mark.parametrize("kind", SHAPELESS)
def test_what_reads_an_input_tells_its_shape(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    body, shape = SHAPELESS[kind]
    constants = "<float[3, 2, 1, 1] kernel = {1,2,3,4,5,6}, float[2, 3] matrix = {1,2,3,4,5,6}, "
    built = model("float[2] x", body, constants + "float[3, 2] turned = {1,2,3,4,5,6}>")
    built.graph.inputs[0].shape = None
    assert ort.fitting_feeds(built)["x"].shape == shape


def test_an_open_channel_axis_behind_a_transpose() -> None:
    body = "a = Transpose <perm = [0, 3, 1, 2]> (x)\ny = Conv (a, kernel)"
    built = model("float[N, H, W, C] x", body, "<float[3, 2, 1, 1] kernel = {1,2,3,4,5,6}>")
    assert ort.random_feeds(built, default=9)["x"].shape == (2, 9, 9, 2)


def test_an_input_without_a_shape() -> None:
    built = model("float[2] x")
    built.graph.inputs[0].shape = None
    with pytest.raises(ModelError, match="input 'x' has no shape"):
        ort.random_feeds(built)


def test_fitting_feeds_try_until_it_runs() -> None:
    pytest.importorskip("onnxruntime")
    constants = "<int64[2] to = {1, 31}>"
    built = model("float[N, L] x", "y = Reshape (x, to)", constants)
    assert ort.fitting_feeds(built)["x"].shape == (1, 31)
    with pytest.raises(ModelError, match="can't run"):
        ort.fitting_feeds(model("float[N, 2, L] x", "y = Reshape (x, to)", "<int64[2] to = {1, 31}>"))


FOUND = {
    "a target": ("float[N, L, 3] x", "y = Reshape (x, to)", "<int64[3] to = {0, 23, 3}>", (2, 23, 3)),
    "in an Expand": ("float[N, L] x", "y = Expand (x, to)", "<int64[2] to = {2, 29}>", (2, 29)),
    "a table that is added": (
        "float[N, L, 2] x", "y = Add (x, table)", f"<float[1, 5, 2] table = {{{ONES}}}>", (2, 5, 2)
    ),
    "a matrix over positions": (
        "float[N, 1, L] x", "a = Transpose <perm = [0, 2, 1]> (x)\ny = Einsum <equation = \"nlc,lm->nmc\"> (a, table)",
        f"<float[5, 2] table = {{{ONES}}}>", (2, 1, 5),
    ),
    "one length for each axis": ("float[N, H, W] x", "y = Expand (x, to)", "<int64[3] to = {1, 7, 11}>", (2, 7, 11)),
    "a constant in a node": (
        "float[N, L] x", "to = Constant <value = int64[2] {0, 23}> ()\ny = Reshape (x, to)", "", (2, 23)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOUND)
def test_lengths_that_the_graph_was_traced_at(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    inputs, body, constants, shape = FOUND[kind]
    assert ort.fitting_feeds(model(inputs, body, constants))["x"].shape == shape


def test_a_length_that_is_given_stays() -> None:
    pytest.importorskip("onnxruntime")
    built = model("float[N, H, W] x", "y = Reshape (x, to)", "<int64[3] to = {0, 7, 11}>")
    assert ort.fitting_feeds(built, sizes={"W": 11})["x"].shape == (2, 7, 11)
    with pytest.raises(ModelError, match="can't run"):
        ort.fitting_feeds(built, sizes={"W": 13})


def test_fitting_feeds_try_nothing_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of audio as the side of an image would be 3 GB."""
    pytest.importorskip("onnxruntime")
    tried = []

    def refuse(_: object, feeds: dict[str, np.ndarray]) -> None:
        tried.append(feeds["x"].size)
        raise ModelError("no")

    monkeypatch.setattr("chanc.backends.ort.feeds.run", refuse)
    with pytest.raises(ModelError, match="no"):
        ort.fitting_feeds(model("float[N, 3, H, W] x"))
    assert 2 * 3 * 1024**2 in tried
    assert max(tried) < 3 * 16000**2


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="no shared models")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_models_run(path: Path) -> None:
    pytest.importorskip("onnxruntime")
    feeds = ort.fitting_feeds(path)
    for plain, exact in zip(ort.run(path, feeds), ort.run(path, feeds, exact=True), strict=True):
        np.testing.assert_allclose(plain, exact, rtol=1e-3, atol=1e-4)


def test_one_value_for_one_name() -> None:
    """The batch of an LSTM's states is their second axis."""
    built = model("float[batch, L, 20] x, float[1, batch, 12] h, float[L, batch] m, float[2, 3] fixed")
    shapes = {name: array.shape for name, array in ort.random_feeds(built, batch=3).items()}
    assert shapes == {"x": (3, 3, 20), "h": (1, 3, 12), "m": (3, 3), "fixed": (2, 3)}, "L is a first axis, too"
    built = model("float[1, batch, 12] h, float[batch, L, 20] x, float[8, L] m")
    shapes = {name: array.shape for name, array in ort.random_feeds(built, sizes={"L": 7}).items()}
    assert shapes == {"h": (1, 2, 12), "x": (2, 7, 20), "m": (8, 7)}
    assert ort.random_feeds(built, sizes={"batch": 5})["h"].shape == (1, 5, 12)
    assert ort.random_feeds(built, sizes={"x:1": 9, "L": 7})["m"].shape == (8, 7)


def test_an_expression_follows_from_its_names() -> None:
    """A decoder with a cache: the mask covers what was before and what is new."""
    inputs = "int64[batch, length] ids, float[batch, 2, past, 8] cache, int64[batch, length] mask"
    built = model(inputs, "y = Identity (ids)")
    total = ir.Shape([ir.SymbolicDim("batch"), ir.SymbolicDim("past + length")])
    built.graph.inputs[2].shape = total
    assert ort.random_feeds(built, sizes={"past": 5, "length": 3})["mask"].shape == (2, 8)
    assert ort.random_feeds(built, default=10)["mask"].shape == (2, 20)
    assert ort.random_feeds(built, sizes={"past + length": 6})["mask"].shape == (2, 6)


@pytest.mark.parametrize("name", ["batch-size", "a b", "?", "x/"])
def test_a_name_that_reads_like_an_expression(name: str) -> None:
    built = model("float[n, 4] x, float[1, n] h")
    for value, shape in zip(built.graph.inputs, ([name, 4], [1, name]), strict=True):
        value.shape = ir.Shape(shape)
    assert {array.shape for array in ort.random_feeds(built).values()} == {(2, 4), (1, 2)}


IDS = {
    "Gather": "y = Gather (table, ids)",
    "through views": "a = Unsqueeze (ids, to)\nb = Cast <to = 6> (a)\ny = Gather (table, b)",
    "the other axis": "y = Gather <axis = 1> (other, ids)",
    "GatherElements": "y = GatherElements (table, ids)",
    "the smallest of two": "a = Gather (wide, ids)\nb = Gather (table, ids)\ny = Add (a, b)",
    "a mask": "y = Cast <to = 1> (ids)",
    "a boolean mask": "y = Cast <to = 9> (ids)",
}


@pytest.mark.parametrize("body", IDS.values(), ids=IDS)
def test_ids_stay_below_the_tables_that_read_them(body: str) -> None:
    tables = "<int64[1] to = {1}, float[2, 3] table = {1,2,3,4,5,6}, float[3, 2] other = {1,2,3,4,5,6}>"
    tables = tables.replace(">", ", float[9, 3] wide = {" + ",".join("1" * 27) + "}>")
    built = model("int64[N, 30] ids", body, tables)
    assert set(np.unique(ort.random_feeds(built)["ids"])) == {0, 1}


def test_ids_of_a_fused_embedding() -> None:
    built = model("int32[N, 30] ids, int32[N, 30] types", "y = Identity (ids)")
    tables = [ir.tensor(np.ones((rows, 8), np.float32), name=f"table{rows}") for rows in (3, 90, 1)]
    values = [ir.Value(name=table.name, const_value=table) for table in tables]
    for value in values:
        built.graph.register_initializer(value)
    built.graph.append(ir.node("EmbedLayerNormalization", [*built.graph.inputs, *values], domain="com.microsoft"))
    built.graph.opset_imports["com.microsoft"] = 1
    feeds = ort.random_feeds(built)
    assert set(np.unique(feeds["ids"])) == {0, 1, 2}
    assert not feeds["types"].any()


def test_integers_may_have_to_be_zero() -> None:
    """What computes a position may leave its table, whatever the graph tells."""
    pytest.importorskip("onnxruntime")
    body = "a = Mul (ids, five)\ny = Gather (table, a)"
    built = model("int64[N] ids", body, "<int64[1] five = {5}, float[3] table = {1, 2, 3}>")
    assert not ort.fitting_feeds(built)["ids"].any()


def test_inputs_from_a_file(tmp_path: Path) -> None:
    built = model("float[N, 3] x, int64[N] ids")
    feeds = ort.random_feeds(built, batch=4)
    np.savez(tmp_path / "feeds.npz", **feeds)
    read = ort.read_feeds(tmp_path / "feeds.npz", built)
    assert read.keys() == feeds.keys()
    np.testing.assert_array_equal(read["x"], feeds["x"])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((2, 3))}, r"holds \['x'\]; the model's inputs are \['ids', 'x'\]"),
        ({"x": np.zeros((2, 3)), "ids": np.zeros(2), "more": np.zeros(1)}, r"holds \['ids', 'more', 'x'\]"),
        ({"x": np.zeros(3), "ids": np.zeros(2)}, "input 'x' has 2 axes, not 1"),
        ({"x": np.array([None]), "ids": np.zeros(2)}, "is not an .npz file of arrays"),
    ],
)
def test_inputs_that_do_not_fit(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "feeds.npz", **arrays)
    with pytest.raises(DataError, match=said):
        ort.read_feeds(tmp_path / "feeds.npz", model("float[N, 3] x, int64[N] ids"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "feeds.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        ort.read_feeds(tmp_path / "feeds.npz", model("float[N, 3] x"))


def test_a_file_of_one_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        ort.read_feeds(tmp_path / "x.npy", model("float[N, 3] x"))
