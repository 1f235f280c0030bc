from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends import ort
from chanc.errors import ModelError

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


def test_an_input_without_a_shape() -> None:
    built = model("float[2] x")
    built.graph.inputs[0].shape = None
    with pytest.raises(ModelError, match="input 'x' has no shape"):
        ort.random_feeds(built)


def test_fitting_feeds_try_until_it_runs() -> None:
    pytest.importorskip("onnxruntime")
    constants = "<int64[2] to = {1, 32}>"
    built = model("float[N, L] x", "y = Reshape (x, to)", constants)
    assert ort.fitting_feeds(built)["x"].shape == (1, 32)
    with pytest.raises(ModelError, match="can't run"):
        ort.fitting_feeds(model("float[N, L] x", "y = Reshape (x, to)", "<int64[2] to = {1, 31}>"))


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
