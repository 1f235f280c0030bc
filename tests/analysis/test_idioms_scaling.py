"""Idioms that scale, gate and normalise channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_batch_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = BatchNormalization(a, g, bb, mu, var)
        r = Relu(b)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "mu": (6,), "var": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_frozen_batch_norm_as_constants(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = Mul(a, sc)
        b = Add(m, sh)
        r = Relu(b)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "sc": (1, 6, 1, 1), "sh": (1, 6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_frozen_batch_norm_by_sub_and_div(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = Sub(a, sc)
        b = Div(m, var)
        r = Relu(b)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "sc": (6, 1, 1), "var": (6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_batch_norms_that_share_through_identity(idiom: Idiom) -> None:
    idiom(
        """
        g2 = Identity(g)
        a = Conv(x, w1)
        b = BatchNormalization(a, g, bb, mu, var)
        r = Relu(b)
        c = Conv(r, w2)
        d = BatchNormalization(c, g2, bb, mu, var)
        e = Relu(d)
        y = Conv(e, w4)
        """,
        {"w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "mu": (6,), "var": (6,), "w2": (6, 6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1), "w2": (6, 1)},
    )


def test_glu(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p, q = Split<axis=1>(a)
        g = Sigmoid(q)
        u = Mul(p, g)
        y = Conv(u, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (12, 2)},
    )


def test_one_gate_for_all_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = Conv(a, w2)
        q = Sigmoid(g)
        u = Mul(a, q)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (1, 6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        pinned={"w2": "it is broadcast (Mul 'u')"},
    )


def test_constant_for_each_pixel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Mul(a, k)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "k": (6, 8, 8), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_squeeze_excitation(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = GlobalAveragePool(a)
        d = Conv(p, w2, b2)
        r = Relu(d)
        e = Conv(r, w3, b3)
        g = HardSigmoid(e)
        u = Mul(a, g)
        y = Conv(u, w4)
        """,
        {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1), "b2": (4,), "w3": (8, 4, 1, 1), "b3": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1), "w2": (4, 1)},
    )


def test_squeeze_excitation_with_linear_layers(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = ReduceMean<axes=[2, 3], keepdims=0>(a)
        d = Gemm<transB=1>(p, w2, b2)
        r = Relu(d)
        e = Gemm<transB=1>(r, w3, b3)
        g = Sigmoid(e)
        v = Reshape(g, s4)
        u = Mul(a, v)
        y = Conv(u, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "w2": (4, 8), "b2": (4,), "w3": (8, 4), "b3": (8,), "s4": np.array([-1, 8, 1, 1]),
            "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 1), "w2": (4, 1)},
    )


def test_prelu(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = PRelu(a, sl)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "sl": (6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_prelu_with_one_slope(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = PRelu(a, sl)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "sl": (1,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_group_norm_21(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = GroupNormalization<num_groups=4>(a, g, bb)
        y = Conv(b, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8,), "bb": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (8, 2)},
        outputs="float[N,5,8,8] y",
        opset=21,
    )


def test_group_norm_21_of_one_group(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = GroupNormalization<num_groups=1>(a, g, bb)
        y = Conv(b, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8,), "bb": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        outputs="float[N,5,8,8] y",
        opset=21,
        inexact={"w1"},
    )


def test_group_norm_21_of_single_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = GroupNormalization<num_groups=6>(a, g, bb)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        outputs="float[N,5,8,8] y",
        opset=21,
    )


def test_weight_standardisation(idiom: Idiom) -> None:
    idiom(
        """
        mu = ReduceMean<axes=[1, 2, 3]>(v)
        d = Sub(v, mu)
        a = Conv(x, d)
        r = Relu(a)
        dd = ReduceMean<axes=[1, 2, 3]>(v2)
        e = Sub(v2, dd)
        b = Conv(r, e)
        y = Conv(b, w4)
        """,
        {"v": (6, 3, 3, 3), "v2": (4, 6, 1, 1), "w4": (5, 4, 1, 1)},
        {"v": (6, 1), "v2": (4, 1)},
    )


def test_group_norm_by_instance_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s3)
        n = InstanceNormalization(q, g1, b1)
        t = Reshape(n, s4)
        m = Mul(t, g)
        b = Add(m, bb)
        y = Conv(b, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "s3": np.array([0, 4, -1]), "g1": np.full((4,), 1, np.float32),
            "b1": np.full((4,), 0, np.float32), "s4": np.array([0, 8, 8, 8]), "g": (8, 1, 1), "bb": (8, 1, 1),
            "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 2)},
    )


def test_group_norm_by_instance_norm_at_any_size(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s3)
        n = InstanceNormalization(q, g1, b1)
        sh = Shape(a)
        t = Reshape(n, sh)
        m = Mul(t, g)
        b = Add(m, bb)
        y = Conv(b, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "s3": np.array([0, 4, -1]), "g1": np.full((4,), 1, np.float32),
            "b1": np.full((4,), 0, np.float32), "g": (8, 1, 1), "bb": (8, 1, 1), "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 2)},
        inputs="float[N,3,H,W] x",
    )


def test_group_norm_decomposed(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s3)
        mu = ReduceMean<axes=[2]>(q)
        d = Sub(q, mu)
        dd = Mul(d, d)
        v = ReduceMean<axes=[2]>(dd)
        ve = Add(v, eps)
        sd = Sqrt(ve)
        n = Div(d, sd)
        t = Reshape(n, s4)
        m = Mul(t, g)
        b = Add(m, bb)
        y = Conv(b, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "s3": np.array([0, 4, -1]), "eps": np.full((1,), 1e-05, np.float32),
            "s4": np.array([0, 8, 8, 8]), "g": (8, 1, 1), "bb": (8, 1, 1), "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 2)},
    )


def test_instance_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        n = InstanceNormalization(a, g, bb)
        y = Conv(n, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8,), "bb": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_layer_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        n = LayerNormalization(t, g, bb)
        l = MatMul(n, w2)
        r = Gelu(l)
        y = MatMul(r, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8,), "bb": (8,), "w2": (8, 6), "w4": (6, 5)},
        {"w1": (8, 1), "w2": (6, 1)},
        opset=20,
        inexact={"w1"},
    )


def test_layer_norm_decomposed(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Transpose<perm=[0, 2, 3, 1]>(a)
        mu = ReduceMean<axes=[-1]>(q)
        d = Sub(q, mu)
        dd = Pow(d, two)
        v = ReduceMean<axes=[-1]>(dd)
        ve = Add(v, eps)
        sd = Sqrt(ve)
        n = Div(d, sd)
        m = Mul(n, g)
        b = Add(m, bb)
        l = MatMul(b, w2)
        r = Relu(l)
        y = MatMul(r, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "eps": np.full((1,), 1e-05, np.float32), "two": np.float32(2), "g": (8,), "bb": (8,),
            "w2": (8, 6), "w4": (6, 5),
        },
        {"w1": (8, 1), "w2": (6, 1)},
        inexact={"w1"},
    )


def test_layer_norm_channels_first(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        mu = ReduceMean<axes=[1]>(a)
        d = Sub(a, mu)
        dd = Mul(d, d)
        v = ReduceMean<axes=[1]>(dd)
        ve = Add(v, eps)
        sd = Sqrt(ve)
        n = Div(d, sd)
        m = Mul(n, g)
        b = Add(m, bb)
        y = Conv(b, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "eps": np.full((1,), 1e-05, np.float32), "g": (8, 1, 1), "bb": (8, 1, 1),
            "w4": (5, 8, 1, 1),
        },
        {"w1": (8, 1)},
        inexact={"w1"},
    )


def test_layer_norm_of_whole_images(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        n = LayerNormalization<axis=1>(a, g, bb)
        y = Conv(n, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8, 8, 8), "bb": (8, 8, 8), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        inexact={"w1"},
    )


def test_rms_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        n = RMSNormalization(t, g)
        l = MatMul(n, w2)
        r = Relu(l)
        y = MatMul(r, w4)
        """,
        {"w1": (8, 3, 1, 1), "g": (8,), "w2": (8, 6), "w4": (6, 5)},
        {"w1": (8, 1), "w2": (6, 1)},
        opset=23,
        inexact={"w1"},
    )


def test_local_response_norm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        n = LRN<size=3>(a)
        y = Conv(n, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        inexact={"w1"},
    )


def test_softmax_over_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        n = Softmax<axis=1>(a)
        y = Conv(n, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        inexact={"w1"},
    )


def test_softmax_over_positions(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s)
        n = Softmax<axis=2>(q)
        u = Reshape(n, s4)
        y = Conv(u, w4)
        """,
        {"w1": (8, 3, 1, 1), "s": np.array([0, 8, 64]), "s4": np.array([0, 8, 8, 8]), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_where_clip_cast(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        z = Greater(a, zz)
        b = Conv(x, w2)
        c = Where(z, a, b)
        d = Clip(c, lo, hi)
        e = Cast<to=11>(d)
        f = Cast<to=1>(e)
        y = Conv(f, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "zz": np.float32(0), "lo": np.float32(-1), "hi": np.float32(1),
            "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1)},
    )


def test_mask_of_booleans_a_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Add(k, a)
        c = Where(z, b, m1)
        y = Conv(c, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "k": (1, 6, 1, 1),
            "z": np.array([[[[True]], [[True]], [[True]], [[True]], [[True]], [[True]]]]), "m1": np.float32(0),
            "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1)},
    )
