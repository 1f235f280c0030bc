"""Quantised models: scales and zero points follow, integer weights behind DequantizeLinear are channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-100, 100, shape).astype(np.int8)


def test_integer_weights(idiom: Idiom) -> None:
    idiom(
        """
        xq = QuantizeLinear(x, s1, z1)
        xd = DequantizeLinear(xq, s1, z1)
        wd = DequantizeLinear<axis=0>(w, ws, wz)
        bd = DequantizeLinear<axis=0>(b, bs, bz)
        a = Conv(xd, wd, bd)
        r = Relu(a)
        rq = QuantizeLinear(r, s1, z1)
        rd = DequantizeLinear(rq, s1, z1)
        vd = DequantizeLinear<axis=0>(v, vs, vz)
        y = Conv(rd, vd)
        """,
        {
            "s1": np.float32(0.05), "z1": np.int8(3), "w": integers(8, 3, 3, 3),
            "ws": np.full((8,), 0.01, np.float32), "wz": np.full((8,), 0, np.int8),
            "b": np.array([0, 1, 2, 3, 4, 5, 6, 7], np.int32), "bs": np.full((8,), 0.001, np.float32),
            "bz": np.full((8,), 0, np.int32), "v": integers(5, 8, 1, 1), "vs": np.full((5,), 0.01, np.float32),
            "vz": np.full((5,), 0, np.int8),
        },
        {"w": (8, 1)},
    )


def test_float_weights(idiom: Idiom) -> None:
    idiom(
        """
        xq = QuantizeLinear(x, s1, z1)
        xd = DequantizeLinear(xq, s1, z1)
        wq = QuantizeLinear<axis=0>(w, ws, wz)
        wd = DequantizeLinear<axis=0>(wq, ws, wz)
        a = Conv(xd, wd, b)
        r = Relu(a)
        rq = QuantizeLinear(r, s1, z1)
        rd = DequantizeLinear(rq, s1, z1)
        vq = QuantizeLinear(v, s1, z1)
        vd = DequantizeLinear(vq, s1, z1)
        y = Conv(rd, vd)
        """,
        {
            "s1": np.float32(0.05), "z1": np.int8(3), "w": (8, 3, 3, 3), "ws": np.full((8,), 0.01, np.float32),
            "wz": np.full((8,), 0, np.int8), "b": (8,), "v": (5, 8, 1, 1),
        },
        {"w": (8, 1)},
    )


def test_linear_layers(idiom: Idiom) -> None:
    idiom(
        """
        xq = QuantizeLinear(x, s1, z1)
        xd = DequantizeLinear(xq, s1, z1)
        wd = DequantizeLinear(w, s1, z0)
        a = Gemm<transB=1>(xd, wd, b)
        r = Relu(a)
        vd = DequantizeLinear<axis=1>(v, vs)
        y = MatMul(r, vd)
        """,
        {
            "s1": np.float32(0.05), "z1": np.int8(3), "z0": np.int8(0), "w": integers(8, 6), "b": (8,),
            "v": integers(8, 5), "vs": np.full((5,), 0.01, np.float32),
        },
        {"w": (8, 1)},
        inputs="float[N,6] x",
    )


def test_dynamic_ranges(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = Relu(a)
        rq, rs, rz = DynamicQuantizeLinear(r)
        rd = DequantizeLinear(rq, rs, rz)
        y = Conv(rd, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_activations_scaled_by_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        rq = QuantizeLinear<axis=1>(a, ws, wz)
        rd = DequantizeLinear<axis=1>(rq, ws, wz)
        y = Conv(rd, w4)
        """,
        {
            "w1": (8, 3, 1, 1),
            "ws": np.array([0.01, 0.0229, 0.0357, 0.0486, 0.0614, 0.0743, 0.0871, 0.1], np.float32),
            "wz": np.array([0, 1, 2, 3, 4, 5, 6, 7], np.int8), "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 1)},
    )


def test_products_of_integers(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        rq, rs, rz = DynamicQuantizeLinear(a)
        c = ConvInteger(rq, w, rz)
        f = Cast<to=1>(c)
        y = Conv(f, w4)
        """,
        {"w1": (8, 3, 1, 1), "w": integers(6, 8, 1, 1), "w4": (5, 6, 1, 1)},
        {},
        pinned={"w1": "its weights are quantised integers (ConvInteger 'c')"},
    )
