"""Which layers are refitted, what lies behind them, and why others are left alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis.infer_shapes import infer_shapes
from chanc.rewriter.trace import Trace, TraceOperand
from chanc.testing.builders import build
from chanc.transforms.recovery.layers import Layer, find

VECTOR = np.array([1.0, -2, 3, 4], dtype=np.float32)
SHIFT = np.array([0.5, 1, 2, -1], dtype=np.float32)


def found(body: str, weights: dict) -> tuple[list[Layer], dict[str, str]]:
    """The layers behind `h = Conv (x, v)`, whose six channels are said to have been eight."""
    weights = {"v": (6, 3, 1, 1), **weights}
    model = ir.from_proto(build("float[N,3,4,4] x", "float y", f"h = Conv (x, v)\n{body}", weights))
    infer_shapes(model)
    operand = TraceOperand("h", 1, "v", {0: np.array([0, 1, 2, 4, 5, 7])})
    return find(model, Trace(True, {}, (operand,)))


@pytest.mark.parametrize(
    ("body", "weights", "name", "why"),
    [
        ("f = Flatten (h)\ny = Gemm <alpha = 2.0> (f, w, b)", {"w": (96, 4), "b": (4,)}, "w", "no plain product"),
        ("f = Flatten (h)\ny = Gemm (f, w, b)", {"w": (96, 4), "b": (1, 4)}, "", ""),
        ("f = Flatten (h)\nt = Transpose (f)\ny = MatMul (w, t)", {"w": (4, 96)}, "y", "no constant"),
        ("y = ConvTranspose <group = 2> (h, w)", {"w": (6, 2, 2, 2)}, "w", "transposed convolution in groups"),
        ("c = ReduceMean (q)\nd = Expand (c, s)\ny = Conv (h, w, d)",
         {"w": (4, 6, 1, 1), "q": (3,), "s": np.array([4])}, "w", "its bias is no constant"),
        ("k = Mul (w, two)\ny = Conv (h, k)", {"w": (4, 6, 1, 1), "two": np.float32(2)}, "y", "no constant"),
    ],
)  # fmt: skip
def test_what_is_left_alone(body: str, weights: dict, name: str, why: str) -> None:
    layers, left = found(body, weights)
    assert len(layers) == (not why)
    assert list(left) == ([name] if why else [])
    assert all(why in reason for reason in left.values())


def test_a_tail_of_constants() -> None:
    (layer,), left = found("""
        z = Conv (h, w, b)
        m = Mul (z, g)
        a = Add (s, m)
        y = Mul (a, two)
    """, {"w": (4, 6, 1, 1), "b": SHIFT, "g": VECTOR.reshape(4, 1, 1), "s": SHIFT.reshape(1, 4, 1, 1),
          "two": np.float32(2)})  # fmt: skip
    assert not left
    assert layer.tail.end.name == "y"
    assert np.array_equal(layer.tail.scale, 2 * VECTOR)
    assert np.array_equal(layer.tail.shift, 2 * (SHIFT * VECTOR + SHIFT))
    assert [(place.node.op_type, place.input) for place in layer.tail.places] == [("Conv", 2), ("Add", 0)]
    assert np.array_equal(layer.tail.places[0].after, 2 * VECTOR)
    assert np.array_equal(layer.tail.places[1].after, [2] * 4)


@pytest.mark.parametrize("end", ["y = Relu (z)", "p = Relu (z)\nq = Neg (z)\ny = Add (p, q)", "y = Mul (z, map)"])
def test_a_tail_ends_where_channels_meet_or_bend(end: str) -> None:
    (layer,), _ = found(f"z = Conv (h, w)\n{end}", {"w": (4, 6, 1, 1), "map": (1, 1, 4, 4)})
    assert layer.tail.end.name == "z"


def test_a_stream_of_another_shape_is_none() -> None:
    layers, _ = found("""
        p = Conv (h, u)
        g = GlobalAveragePool (h)
        z = Conv (g, w)
        y = Add (p, z)
    """, {"u": (4, 6, 1, 1), "w": (4, 6, 1, 1)})  # fmt: skip
    assert [(layer.name, layer.tail.end.name) for layer in layers] == [("u", "p"), ("w", "z")]
    assert all(layer.tail.stream is None for layer in layers)


def test_layers_before_the_change_are_none_of_it() -> None:
    layers, left = found("t = Conv (x, u)\ny = Add (h, t)", {"u": (6, 3, 1, 1)})
    assert [layer.name for layer in layers] == ["u"]  # its stream has changed
    assert layers[0].tail.stream is not None
    layers, left = found("t = Conv (x, u)\nr = Relu (t)\ny = Add (h, r)", {"u": (6, 3, 1, 1)})
    assert (layers, left) == ([], {})
