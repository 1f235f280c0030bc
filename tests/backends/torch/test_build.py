"""`build` as its callers use it: any kind of model, which stays as it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.backends import ort
from chanc.testing import builders

torch = pytest.importorskip("torch")

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4, 6, 6] x) => (float[n, 5, 6] y)
{ a = Conv(x, w)
  axes = Constant<value: tensor = int64[1] {3}>()
  c = Squeeze(a, axes)
  y = LayerNormalization<axis: int = -1>(c, s, b) }
"""


@pytest.mark.parametrize("kind", ["path", "proto"])
def test_a_file_without_shapes(kind: str, tmp_path) -> None:
    from chanc.backends.torch import build

    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    for name, shape in {"w": (5, 4, 1, 6), "s": (6,), "b": (6,)}.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    before = model.SerializeToString()
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    built = build(path if kind == "path" else model)
    x = rng.standard_normal((3, 4, 6, 6)).astype(np.float32)
    with torch.no_grad():
        found = built.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, ort.run(path, {"x": x})[0], rtol=1e-5, atol=1e-5)
    assert model.SerializeToString() == before


def test_a_shared_weight_whose_first_holder_has_no_say() -> None:
    """A convolution that nobody reads has it, and a Relu of the weight itself."""
    from chanc.backends.torch import build

    body = "a = Conv(x, w) r = Relu(w) s = ReduceSum<keepdims: int = 1>(x) y = Add(r, s)"
    model = builders.build("float[2,4,8,8] x", "float y", body, {"w": (6, 4, 3, 3)})
    built = build(model)
    x = np.ones((2, 4, 8, 8), dtype=np.float32)
    assert len(built.module.state_dict()) == 1
    with torch.no_grad():
        np.testing.assert_allclose(built.module(torch.from_numpy(x)), ort.run(model, {"x": x})[0], rtol=1e-6)
