"""Operators that onnxruntime doesn't have, or of which only some axes can carry channels: caches, losses, bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from chanc.analysis import Analysis, analyze
from chanc.testing.builders import build
from chanc.testing.rules import RuleContract

Idiom = Callable[..., Analysis]


class Referenced(RuleContract):
    """Run by ONNX's own reference."""

    def run(self, model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
        return ReferenceEvaluator(model).run(None, dict(feeds))


class TestTensorScatter(Referenced):
    operator, version = "TensorScatter", 24

    def models(self) -> Iterable[onnx.ModelProto]:
        """Positions of [batch, positions, channels] are written over, and of [batch, heads, positions, columns]."""
        yield build(
            "float[2,4,3] x, float[2,9,3] z", "float[2,9,5] y",
            "a = MatMul(x, w1) c = MatMul(z, w2) s = TensorScatter(c, a) y = MatMul(s, w4)",
            {"w1": (3, 8), "w2": (3, 8), "w4": (8, 5)}, opset=24,
        )  # fmt: skip
        yield build(
            "float[2,3,4,2] x", "float[2,5,9,2] y",
            "a = Conv(x, w1) t = TensorScatter<mode=\"circular\">(c, a, i) y = Conv(t, w4)",
            {"w1": (6, 3, 1, 1), "c": (2, 6, 9, 2), "i": np.array([3, 7]), "w4": (5, 6, 1, 1)}, opset=24,
        )  # fmt: skip


class TestBitCast(Referenced):
    operator, version = "BitCast", 26

    def models(self) -> Iterable[onnx.ModelProto]:
        """The sign bit of each channel's values, read as an integer."""
        yield build(
            "float[2,3,4,4] x", "float[2,5,4,4] y",
            "a = Conv(x, w1) i = BitCast<to=6>(a) l = Less(i, z) m = Where(l, a, b) y = Conv(m, w4)",
            {"w1": (6, 3, 1, 1), "z": np.int32(0), "b": np.float32(0.5), "w4": (5, 6, 1, 1)}, opset=26,
        )  # fmt: skip


def test_a_cache_that_is_an_input_pins_what_is_written_into_it() -> None:
    model = build(
        "float[2,4,3] x, float[2,9,8] c", "float[2,9,5] y",
        "a = MatMul(x, w1) b = MatMul(a, w2) s = TensorScatter(c, b) y = MatMul(s, w4)",
        {"w1": (3, 6), "w2": (6, 8), "w4": (8, 5)}, opset=24,
    )  # fmt: skip
    found = analyze(model)
    assert "graph input 'c'" in found.group("w2").reason
    assert found.group("w1").resizable


def test_losses_keep_their_classes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        y, p = SoftmaxCrossEntropyLoss<reduction="none">(b, l, v)
        q = LogSoftmax<axis=1>(b)
        n = NegativeLogLikelihoodLoss(q, l)
        """,
        {"w1": (6, 3, 1, 1), "w2": (4, 6, 1, 1), "v": (4,)},
        {"w1": (6, 1)},
        inputs="float[N,3,8,8] x, int64[N,8,8] l",
        outputs="float[N,8,8] y, float[N,4,8,8] p, float n",
        pinned={"w2": "a loss is taken over it"},
    )
