"""Linear layers, which have a way of their own, and what they are: products with a contracted axis."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.analysis import Analysis, analyze
from chanc.analysis.rules import linear
from chanc.testing.builders import build

LAYERS = {
    "after an activation without channels": build("float[N,5,8] x", "float y", "y = MatMul(x, w)", {"w": (8, 6)}),
    "one after the other": build(
        "float[N,5,8] x", "float y", "a = MatMul(x, w)\n b = Relu(a)\n y = MatMul(b, v)", {"w": (8, 6), "v": (6, 4)}
    ),
    "a single channel": build(
        "float[N,8] x", "float y", "a = MatMul(x, w)\n y = MatMul(a, v)", {"w": (8, 1), "v": (1, 4)}
    ),
    "Gemm, either way": build(
        "float[2,8] x", "float y", "a = Gemm<transB=1>(x, w, c)\n b = Gemm(a, v)\n y = Gemm<transA=1>(b, u)",
        {"w": (6, 8), "c": (6,), "v": (6, 4), "u": (2, 3)},
    ),
    "tied": build("float[N,8] x", "float y", "a = MatMul(x, w)\n b = MatMul(a, w)\n y = MatMul(b, w)", {"w": (8, 8)}),
    "whole numbers": build("int32[N,8] x", "int32 y", "a = MatMul(x, w)\n y = MatMul(a, w)", {
        "w": np.ones((8, 8), np.int32)
    }),
    "heads beside": build(
        "float[N,5,8] x", "float y",
        "a = MatMul(x, w)\n b = Reshape(a, s)\n c = Transpose<perm=[0,2,1,3]>(b)\n d = MatMul(c, v)\n"
        "e = Transpose<perm=[0,2,1,3]>(d)\n f = Reshape(e, t)\n y = MatMul(f, u)",
        {"w": (8, 12), "s": np.array([0, 0, 3, 4]), "v": (4, 4), "t": np.array([0, 0, 12]), "u": (12, 2)},
    ),
}  # fmt: skip


def told(found: Analysis) -> list[object]:
    """All that an analysis says of channels, and what the findings have of them."""
    layouts = {
        value.name: (layout.axes, layout.why, [(part.slots, part.labels.tolist()) for part in layout.fields])
        for value, layout in found.findings.layouts.items()
    }
    groups = [(repr(group), [(repr(o), o.indices.tolist()) for o in group.operands]) for group in found.groups]
    return [layouts, groups, found.pinned, [mode for _, mode in found.findings.modes.items()]]


@pytest.mark.parametrize("proto", LAYERS.values(), ids=LAYERS)
def test_a_linear_layer_is_a_product(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    found = analyze(proto)
    monkeypatch.setattr(linear, "linear", lambda *_: None)
    assert told(found) == told(analyze(proto))
