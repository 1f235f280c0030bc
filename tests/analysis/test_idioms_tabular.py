"""Pipelines in front of a network: their columns stay, the network changes."""

from __future__ import annotations

from collections.abc import Callable

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_a_scaler_before_a_perceptron(idiom: Idiom) -> None:
    idiom(
        """
        s = ai.onnx.ml.Scaler<offset=[0.1, 0.2, 0.3, 0.4], scale=[2.0, 1.0, 0.5, 3.0]>(x)
        a = MatMul(s, w1)
        b = Add(a, b1)
        r = Relu(b)
        y = MatMul(r, w2)
        """,
        {"w1": (4, 16), "b1": (16,), "w2": (16, 3)},
        {"w1": (16, 1)},
        inputs="float[N,4] x",
        outputs="float[N,3] y",
        domains=["ai.onnx.ml"],
    )


def test_a_scaler_inside_a_network(idiom: Idiom) -> None:
    """It holds a number for each column, which are not followed."""
    idiom(
        """
        a = MatMul(x, w1)
        s = ai.onnx.ml.Scaler<offset=[0.1], scale=[2.0]>(a)
        b = MatMul(s, w2)
        r = Relu(b)
        y = MatMul(r, w3)
        """,
        {"w1": (4, 8), "w2": (8, 6), "w3": (6, 3)},
        {"w2": (6, 1)},
        inputs="float[N,4] x",
        outputs="float[N,3] y",
        domains=["ai.onnx.ml"],
        pinned={"w1": "Scaler has numbers for each column"},
    )


def test_a_norm_that_only_onnxruntime_knows(idiom: Idiom) -> None:
    idiom(
        """
        a = MatMul(x, w1)
        n = SimplifiedLayerNormalization<axis=-1, epsilon=0.00001>(a, g)
        b = MatMul(n, w2)
        r = Relu(b)
        y = MatMul(r, w3)
        """,
        {"w1": (4, 16), "g": (16,), "w2": (16, 8), "w3": (8, 3)},
        {"w1": (16, 1), "w2": (8, 1)},
        inputs="float[N,4] x",
        outputs="float[N,3] y",
        inexact={"w1"},
        domains=["com.microsoft"],
    )
