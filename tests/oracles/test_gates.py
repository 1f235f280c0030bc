"""The oracles see a gate that is nearly shut as exactly as any other number."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.oracles import check_shrink, differences

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, 5, 5] x) => (float[n, m, p, q] y)
{ a = Conv(x, w1)
  p0 = GlobalAveragePool(a)
  h = Conv(p0, w2, b2)
  s = Sigmoid(h)
  m0 = Mul(a, s)
  y = Conv(m0, w3) }
"""


def gated(shut: float) -> onnx.ModelProto:
    """Squeeze and excitation whose gates have `shut` before the Sigmoid."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(TEXT)
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 1, 1), "w3": (5, 4, 1, 1)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) * 0.1 for name, shape in shapes.items()}
    arrays["b2"] = np.full(4, shut, dtype=np.float32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def test_rounding_before_a_gate_is_no_difference() -> None:
    """onnxruntime's own Sigmoid goes in steps of 6e-8 here, 0.5 % of its value."""
    for step in range(1, 20):
        (found,) = differences(gated(-11.3), gated(-11.3 + step * 1e-6))
        assert found.error < 3e-5


@pytest.mark.parametrize("shut", [0.0, -12.0, -100.0])
def test_gates_that_are_nearly_shut(shut: float) -> None:
    assert check_shrink(gated(shut), scale=0.25).operands


def test_a_gate_that_opens_a_little_is_seen() -> None:
    (found,) = differences(gated(-12.0), gated(-11.99))
    assert found.error > 5e-3


def test_a_dropped_channel_that_is_not_a_number_is_no_difference() -> None:
    """A variance below zero makes its channel NaN, which times zero is NaN."""
    model = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, 5, 5] x) => (float[n, m, p, q] y)
{ a = Conv(x, w1) b = BatchNormalization(a, s, s, s, var) y = Conv(b, w2) }
""")
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32)
              for name, shape in {"w1": (4, 3, 3, 3), "w2": (5, 4, 1, 1), "s": (4,)}.items()}  # fmt: skip
    arrays["var"] = np.array([1, 1, -1, -1], dtype=np.float32)
    arrays["w1"][2:] *= 1e-3  # the last two go
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    assert check_shrink(model, scale=0.5).operands
