"""Kernels along channels (ECA-Net, Wang et al. 2020): pooled channels as [N, 1, C], a Conv along them, a gate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]
AROUND = {"w": (16, 3, 3, 3), "b": (16,), "w2": (5, 16, 1, 1), "along": np.array([0, 1, 16])}


@pytest.mark.parametrize(
    ("kernel", "pads", "dilation", "back"),
    [(3, 1, 1, [0, 16, 1, 1]), (5, 2, 1, [-1, 16, 1, 1]), (3, 2, 2, [0, -1, 1, 1])],
)
def test_gate_by_reshapes(idiom: Idiom, kernel: int, pads: int, dilation: int, back: list[int]) -> None:
    idiom(
        f"""
        c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
        p = ReduceMean<axes=[2, 3], keepdims=0>(c)
        q = Reshape(p, along)
        k = Conv<pads=[{pads}, {pads}], dilations=[{dilation}]>(q, kw)
        r = Reshape(k, back)
        s = Sigmoid(r)
        g = Mul(c, s)
        y = Conv(g, w2)
        """,
        {**AROUND, "kw": (1, 1, kernel), "back": np.array(back)},
        {"w": (16, 1)},
        inexact={"w"},
        pinned={"kw": "it is a single channel on an axis of others"},
    )


def test_two_kernels_in_a_row_with_a_bias(idiom: Idiom) -> None:
    idiom(
        """
        c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
        p = GlobalAveragePool(c)
        q = Reshape(p, along)
        k = Conv<pads=[1, 1]>(q, kw, kb)
        h = Relu(k)
        l = Conv<pads=[1, 1]>(h, lw)
        r = Reshape(l, back)
        s = Sigmoid(r)
        g = Mul(c, s)
        y = Conv(g, w2)
        """,
        {**AROUND, "kw": (4, 1, 3), "kb": (4,), "lw": (1, 4, 3), "back": np.array([0, 16, 1, 1])},
        {"w": (16, 1), "kw": (4, 1)},
        inexact={"w"},
    )


def test_gate_that_is_expanded_to_the_picture(idiom: Idiom) -> None:
    idiom(
        """
        c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
        p = GlobalAveragePool(c)
        q = Reshape(p, along)
        k = Conv<pads=[1, 1]>(q, kw)
        r = Reshape(k, back)
        sh = Shape(c)
        e = Expand(r, sh)
        g = Mul(e, c)
        y = Conv(g, w2)
        """,
        {**AROUND, "kw": (1, 1, 3), "back": np.array([0, 16, 1, 1])},
        {"w": (16, 1)},
        inexact={"w"},
    )


def test_a_kernel_that_shortens_the_channels_pins_them(idiom: Idiom) -> None:
    idiom(
        """
        c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
        p = GlobalAveragePool(c)
        q = Reshape(p, along)
        k = Conv(q, kw)
        f = Flatten(k)
        y = MatMul(f, v)
        """,
        {"w": (16, 3, 3, 3), "b": (16,), "along": np.array([0, 1, 16]), "kw": (1, 1, 3), "v": (14, 5)},
        {"kw": (1, 1)},
        pinned={"w": "it varies along a spatial axis of a convolution"},
    )
