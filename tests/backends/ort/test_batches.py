"""A model whose batch is fixed says of any number of samples what it says of each alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends.ort import in_batches, run_batch, session
from chanc.errors import ModelError

pytest.importorskip("onnxruntime")


def doubler(batch: str) -> ir.Model:
    """Twice its input; and the indices of entries above zero, which are no samples."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[{batch}, 3] x) => (float y, int64[m, 2] z) {{
        y = Add (x, x)
        p = Relu (x)
        t = NonZero (p)
        z = Transpose (t)
    }}"""
    built: ir.Model = ir.from_onnx_text(text)
    return built


@pytest.mark.parametrize("batch", ["4", "1", "N"])
@pytest.mark.parametrize("count", [1, 4, 6, 9])
def test_any_number_of_samples(batch: str, count: int) -> None:
    x = np.arange(1, 3 * count + 1, dtype=np.float32).reshape(count, 3)
    found = run_batch(session(doubler(batch)), {"x": x})
    assert np.array_equal(found["y"], 2 * x)
    assert len(found["z"]) >= 3 * count


def test_a_state_of_one_sample_fixes_the_batch() -> None:
    built: ir.Model = ir.from_onnx_text("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 3] x, float[1, 3] h) => (float y) { y = Add (x, h) }""")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(run_batch(session(built), {"x": x, "h": x})["y"], 2 * x)


def test_batches_of_inputs() -> None:
    x = np.arange(5)
    assert [part["x"].tolist() for part in in_batches({"x": x, "y": x}, 2)] == [[0, 1], [2, 3], [4]]
    assert len(list(in_batches({"x": x, "y": np.arange(4)}, 2))) == 1
    assert len(list(in_batches({"x": x, "rate": np.array(16000)}, 2))) == 1


def test_whole_runs() -> None:
    built: ir.Model = ir.from_onnx_text("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 3] x, float gain) => (float y, int64[m, 2] z, int64[2, m] w)
    { y = Mul (x, gain) w = NonZero (x) z = Transpose (w) }""")
    x = np.array([[[0, 1, 2]], [[3, 0, 0]], [[4, 5, 6]]], dtype=np.float32)
    feeds = {"x": x, "gain": np.array([1, 2, 3], dtype=np.float32)}
    with pytest.raises(ModelError, match=r"output 'w' is \[2, 2\] in one run and has other sizes in others"):
        run_batch(session(built), feeds)
    del built.graph.outputs[2]
    found = run_batch(session(built), feeds)
    assert np.array_equal(found["y"], x * np.array([1, 2, 3])[:, None, None])
    assert len(found["z"]) == 6
