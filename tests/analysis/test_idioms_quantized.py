"""Quantised models: scales and zero points follow, integer weights behind DequantizeLinear are channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-100, 100, shape).astype(np.int8)


def unsigned(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 255, shape).astype(np.uint8)


SCALE = {"s": np.float32(0.05), "z": np.uint8(128), "ws": np.float32(0.01), "wz": np.uint8(120)}


def by_row(count: int, start: int = 0) -> dict[str, np.ndarray]:
    """Scales and zero points of each channel."""
    points = np.arange(start, start + count, dtype=np.uint8)
    return {"cs": np.linspace(0.01, 0.02, count, dtype=np.float32), "cz": points}


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
        {"w1": (8, 1), "w": (6, 1)},
    )


@pytest.mark.parametrize("each", [False, True])
def test_unsigned_weights(idiom: Idiom, each: bool) -> None:
    """What stands for 0 is the zero point: for all, or one a channel."""
    points = "cs, cz" if each else "ws, wz"
    idiom(
        f"""
        w = DequantizeLinear<axis=0>(u, ws, wz)
        a = Conv(x, w)
        r = Relu(a)
        v = DequantizeLinear<axis=0>(q, {points})
        y = Conv(r, v)
        """,
        {**SCALE, **by_row(5, 100), "u": unsigned(8, 3, 1, 1), "q": unsigned(5, 8, 1, 1)},
        {"u": (8, 1)},
    )


def test_a_zero_point_for_each_input_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = MatMul(x, w1)
        r = Relu(a)
        v = DequantizeLinear<axis=0>(q, cs, cz)
        y = MatMul(r, v)
        """,
        {**by_row(8, 100), "w1": (6, 8), "q": unsigned(8, 5)},
        {"w1": (8, 1)},
        inputs="float[N,6] x",
    )


@pytest.mark.parametrize("kind", [np.int8, "int4"])
def test_weights_quantised_in_blocks(idiom: Idiom, kind: object) -> None:
    """Blocks of four along what the product takes: whole blocks go."""
    import ml_dtypes

    numbers = np.random.default_rng(0).integers(-8, 8, (16, 6)).astype(ml_dtypes.int4 if kind == "int4" else kind)
    idiom(
        """
        a = MatMul(x, w1)
        r = Relu(a)
        v = DequantizeLinear<axis=0, block_size=4>(q, s)
        b = MatMul(r, v)
        c = Relu(b)
        y = MatMul(c, w2)
        """,
        {"w1": (5, 16), "q": numbers, "s": np.linspace(0.1, 0.2, 24, dtype=np.float32).reshape(4, 6), "w2": (6, 3)},
        {"w1": (16, 4), "q": (6, 1)},
        inputs="float[N,5] x",
        opset=21,
    )


@pytest.mark.parametrize("each", [False, True])
def test_qlinear_convolutions(idiom: Idiom, each: bool) -> None:
    """Grouped, depthwise and plain ones, a sum, a pool and a join between them."""
    points = "cs, cz" if each else "ws, wz"
    idiom(
        f"""
        q = QuantizeLinear(x, s, z)
        a = QLinearConv(q, s, z, w1, {points}, s, z, b1)
        d = QLinearConv<group=8, pads=[1,1,1,1]>(a, s, z, w2, {points}, s, z)
        e = com.microsoft.QLinearAdd(a, s, z, d, s, z, s, z)
        f = com.microsoft.QLinearLeakyRelu<alpha=0.1>(e, s, z, s, z)
        g = QLinearConv<group=2>(f, s, z, w3, {points}, s, z)
        h = com.microsoft.QLinearConcat<axis=1>(s, z, g, s, z, f, s, z)
        p = com.microsoft.QLinearGlobalAveragePool(h, s, z, s, z)
        o = QLinearConv(p, s, z, w4, ws, wz, s, z)
        y = DequantizeLinear(o, s, z)
        """,
        {
            **SCALE, **by_row(8, 110), "w1": unsigned(8, 3, 1, 1), "b1": np.arange(-400, 400, 100, dtype=np.int32),
            "w2": unsigned(8, 1, 3, 3), "w3": unsigned(8, 4, 1, 1), "w4": unsigned(5, 16, 1, 1),
        },
        {"w1": (8, 2), "w3": (8, 2)},
        domains=["com.microsoft"],
        outputs="float[N,5,1,1] y",
    )


PRODUCTS = {
    "MatMulInteger": "c = MatMulInteger(r, w, z, {zero}) f = Cast<to=1>(c) t = Mul(f, {scale})",
    "QLinearMatMul": "c = QLinearMatMul(r, s, z, w, {scale}, {zero}, s, z) t = DequantizeLinear(c, s, z)",
    "MatMulIntegerToFloat": "t = com.microsoft.MatMulIntegerToFloat(r, w, s, {scale}, z, {zero}, bias)",
    "DynamicQuantizeMatMul": "t = com.microsoft.DynamicQuantizeMatMul(a, w, {scale}, {zero}, bias)",
    "QGemm": "t = com.microsoft.QGemm(r, s, z, w, {scale}, {zero}, integers)",
}


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("op", PRODUCTS)
def test_products_with_integer_matrices(idiom: Idiom, op: str, each: bool) -> None:
    scale, zero = ("cs", "cz") if each else ("ws", "wz")
    idiom(
        f"""
        a = MatMul(x, w1)
        r = QuantizeLinear(a, s, z)
        {PRODUCTS[op].format(scale=scale, zero=zero)}
        u = Relu(t)
        y = MatMul(u, w2)
        """,
        {
            **SCALE, **by_row(6, 110), "w1": (5, 8), "w": unsigned(8, 6), "w2": (6, 3), "bias": (6,),
            "integers": np.arange(-300, 300, 100, dtype=np.int32),
        },
        {"w1": (8, 1), "w": (6, 1)},
        inputs="float[N,5] x",
        outputs="float[N,3] y",
        domains=["com.microsoft"],
    )


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("points", [False, True])
def test_weights_of_four_bits(idiom: Idiom, flat: bool, points: bool) -> None:
    """MatMulNBits: rows go one by one, and blocks of 16 where scales lie in a matrix and no zero points are packed."""
    scales = np.linspace(0.01, 0.03, 24, dtype=np.float32)
    idiom(
        f"""
        a = MatMul(x, w1)
        r = Relu(a)
        b = com.microsoft.MatMulNBits<K=64, N=6, bits=4, block_size=16>(r, w, s{", z" if points else ""})
        c = Relu(b)
        y = MatMul(c, w2)
        """,
        {
            "w1": (5, 64), "w": unsigned(6, 4, 8), "s": scales if flat else scales.reshape(6, 4),
            "z": unsigned(12) if flat else unsigned(6, 2), "w2": (6, 3),
        },
        {"w": (6, 1)} | ({} if flat or points else {"w1": (64, 16)}),
        inputs="float[N,5] x",
        outputs="float[N,3] y",
        domains=["com.microsoft"],
    )


@pytest.mark.parametrize("each", [False, True])
def test_recurrent_layers(idiom: Idiom, each: bool) -> None:
    """Gates lie along the last axis, a scale and a zero point for each of them or one for a direction."""
    count = (1, 24) if each else (1,)
    scale, zero = np.full(count, 0.01, np.float32), np.full(count, 130, np.uint8)
    idiom(
        """
        a = MatMul(x, w1)
        s, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size=6>(a, w, r, b, , , , , ws, wz, rs, rz)
        t = Squeeze(s, axes)
        y = MatMul(t, w2)
        """,
        {
            "w1": (5, 8), "w": unsigned(1, 8, 24), "r": unsigned(1, 6, 24), "b": (1, 48), "w2": (6, 3),
            "axes": np.array([1]), "ws": scale, "wz": zero, "rs": scale, "rz": zero,
        },
        {"w1": (8, 1), "w": (24, 4)},
        inputs="float[7,N,5] x",
        outputs="float[7,N,3] y",
        domains=["com.microsoft"],
    )


@pytest.mark.parametrize("each", [False, True])
def test_attention_with_an_integer_weight(idiom: Idiom, each: bool) -> None:
    scale, zero = ("cs", "cz") if each else ("ws", "wz")
    idiom(
        f"""
        a = MatMul(x, w1)
        q = QuantizeLinear(a, s, z)
        t = com.microsoft.QAttention<num_heads=2>(q, w, b, s, {scale}, , z, {zero})
        y = MatMul(t, w2)
        """,
        {**SCALE, **by_row(24, 110), "w1": (5, 8), "w": unsigned(8, 24), "b": (24,), "w2": (8, 3)},
        {"w1": (8, 1), "w": (24, 12)},
        inputs="float[2,7,5] x",
        outputs="float[2,7,3] y",
        domains=["com.microsoft"],
    )
