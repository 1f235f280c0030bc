"""Blocks of well-known networks: windows, class tokens, gates, attention over positions and over channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_window_partition(idiom: Idiom) -> None:
    """Swin: windows cut out, a linear layer, windows put back."""
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        r = Reshape(t, s6)
        p = Transpose<perm=[0, 1, 3, 2, 4, 5]>(r)
        w = Reshape(p, s3)
        l = MatMul(w, w2)
        b = Reshape(l, s62)
        q = Transpose<perm=[0, 1, 3, 2, 4, 5]>(b)
        u = Reshape(q, s4)
        y = MatMul(u, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "s6": np.array([-1, 2, 4, 2, 4, 6]), "s3": np.array([-1, 16, 6]), "w2": (6, 7),
            "s62": np.array([-1, 2, 2, 4, 4, 7]), "s4": np.array([-1, 8, 8, 7]), "w4": (7, 5),
        },
        {"w1": (6, 1), "w2": (7, 1)},
    )


def test_cyclic_shift_of_rows(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        h = Slice(t, c2, e, o)
        g = Slice(t, z, c2, o)
        c = Concat<axis=1>(h, g)
        y = MatMul(c, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "c2": np.array([2]), "e": np.array([2147483647]), "o": np.array([1]),
            "z": np.array([0]), "w4": (6, 5),
        },
        {"w1": (6, 1)},
    )


def test_patch_merging(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        p = Slice(t, zz, e, hw, ss)
        q = Slice(t, oz, e, hw, ss)
        r = Slice(t, zo, e, hw, ss)
        u = Slice(t, oo, e, hw, ss)
        c = Concat<axis=-1>(p, q, r, u)
        y = MatMul(c, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "zz": np.array([0, 0]), "oz": np.array([1, 0]), "zo": np.array([0, 1]),
            "oo": np.array([1, 1]), "e": np.array([2147483647, 2147483647]), "hw": np.array([1, 2]),
            "ss": np.array([2, 2]), "w4": (24, 5),
        },
        {"w1": (6, 1)},
    )


def test_class_token_and_position_embedding(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<strides=[4, 4], kernel_shape=[4, 4]>(x, w1)
        r = Reshape(a, s3)
        t = Transpose<perm=[0, 2, 1]>(r)
        sh = Shape(x)
        n = Slice(sh, z, o)
        es = Concat<axis=0>(n, mm)
        ct = Expand(cls, es)
        c = Concat<axis=1>(ct, t)
        p = Add(c, pos)
        g = Gather<axis=1>(p, i0)
        y = MatMul(g, w4)
        """,
        {
            "w1": (6, 3, 4, 4), "s3": np.array([0, 6, -1]), "z": np.array([0]), "o": np.array([1]),
            "mm": np.array([1, 6]), "cls": (1, 1, 6), "pos": (1, 5, 6), "i0": np.array(0), "w4": (6, 5),
        },
        {"w1": (6, 1)},
    )


def test_patches_by_reshape(idiom: Idiom) -> None:
    idiom(
        """
        r = Reshape(x, s6)
        t = Transpose<perm=[0, 2, 4, 3, 5, 1]>(r)
        f = Reshape(t, s3)
        l = MatMul(f, w2)
        m = ReduceMean<axes=[1], keepdims=0>(l)
        y = MatMul(m, w4)
        """,
        {"s6": np.array([-1, 3, 2, 4, 2, 4]), "s3": np.array([-1, 4, 48]), "w2": (48, 7), "w4": (7, 5)},
        {"w2": (7, 1)},
    )


def test_convolution_along_channels(idiom: Idiom) -> None:
    """ECA-Net: each channel is gated by its neighbours."""
    idiom(
        """
        a = Conv(x, w1)
        p = GlobalAveragePool(a)
        q = Squeeze(p, m1)
        t = Transpose<perm=[0, 2, 1]>(q)
        c = Conv<pads=[1, 1]>(t, w2)
        u = Transpose<perm=[0, 2, 1]>(c)
        v = Unsqueeze(u, m1)
        g = Sigmoid(v)
        m = Mul(a, g)
        y = Conv(m, w4)
        """,
        {"w1": (6, 3, 1, 1), "m1": np.array([-1]), "w2": (1, 1, 3), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        inexact={"w1"},
        pinned={"w2": "it is broadcast (Mul 'm')", "w2:1": "it takes values that are not channels (Conv 'c')"},
    )


def test_spatial_attention(idiom: Idiom) -> None:
    """CBAM: mean and maximum over channels make a gate for each pixel."""
    idiom(
        """
        a = Conv(x, w1)
        p = ReduceMean<axes=[1]>(a)
        q = ReduceMax<axes=[1]>(a)
        c = Concat<axis=1>(p, q)
        g = Conv<pads=[1, 1, 1, 1]>(c, w2)
        s = Sigmoid(g)
        m = Mul(a, s)
        y = Conv(m, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (1, 2, 3, 3), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        inexact={"w1"},
        pinned={"w2": "it is broadcast (Mul 'm')", "w2:1": "it takes values that are not channels (Conv 'g')"},
    )


def test_maxout(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = Reshape(a, s5)
        m = ReduceMax<axes=[2], keepdims=0>(r)
        y = Conv(m, w4)
        """,
        {"w1": (12, 3, 1, 1), "s5": np.array([0, 6, 2, 8, 8]), "w4": (5, 6, 1, 1)},
        {"w1": (12, 2)},
    )


def test_bilinear_pooling(idiom: Idiom) -> None:
    """One axis for pairs of channels: its length is a square, so the width stays."""
    idiom(
        """
        a = Conv(x, w1)
        r = Reshape(a, s3)
        t = Transpose<perm=[0, 2, 1]>(r)
        g = MatMul(r, t)
        f = Flatten(g)
        y = MatMul(f, w4)
        """,
        {"w1": (6, 3, 1, 1), "s3": np.array([0, 6, 64]), "w4": (36, 5)},
        {},
        pinned={"w1": "two sets of channels share an axis (MatMul 'y')"},
    )


def test_non_local_block(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        th = Conv(a, wt)
        ph = Conv(a, wp)
        gg = Conv(a, wg)
        tr = Reshape(th, s)
        tt = Transpose<perm=[0, 2, 1]>(tr)
        pr = Reshape(ph, s)
        f = MatMul(tt, pr)
        p = Softmax<axis=-1>(f)
        gr = Reshape(gg, s)
        gt = Transpose<perm=[0, 2, 1]>(gr)
        o = MatMul(p, gt)
        ot = Transpose<perm=[0, 2, 1]>(o)
        o4 = Reshape(ot, s4)
        z = Conv(o4, wz)
        r = Add(a, z)
        y = Conv(r, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "wt": (4, 6, 1, 1), "wp": (4, 6, 1, 1), "wg": (4, 6, 1, 1), "s": np.array([0, 4, 64]),
            "s4": np.array([0, 4, 8, 8]), "wz": (6, 4, 1, 1), "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1), "wt": (4, 1), "wg": (4, 1)},
        unscalable={"wt"},
    )


def test_channel_attention_matrix(idiom: Idiom) -> None:
    """XCiT: a softmax over one channel axis of q x k."""
    idiom(
        """
        a = Conv(x, w1)
        q = Conv(a, wq)
        k = Conv(a, wk)
        v = Conv(a, wv)
        qr = Reshape(q, s)
        kr = Reshape(k, s)
        vr = Reshape(v, s)
        kt = Transpose<perm=[0, 2, 1]>(kr)
        f = MatMul(qr, kt)
        p = Softmax<axis=-1>(f)
        o = MatMul(p, vr)
        o4 = Reshape(o, s4)
        y = Conv(o4, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "wq": (4, 6, 1, 1), "wk": (4, 6, 1, 1), "wv": (4, 6, 1, 1), "s": np.array([0, 4, 64]),
            "s4": np.array([0, 4, 8, 8]), "w4": (5, 4, 1, 1),
        },
        {"w1": (6, 1), "wq": (4, 1), "wk": (4, 1)},
        inexact={"wk"},
        unscalable={"wk"},
    )


def test_convnext_block_with_layer_scale(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv<group=6, pads=[1, 1, 1, 1]>(a, wd)
        t = Transpose<perm=[0, 2, 3, 1]>(b)
        l = MatMul(t, w2)
        lb = Add(b2, l)
        r = Relu(lb)
        k = MatMul(r, w3)
        m = Mul(g, k)
        u = Transpose<perm=[0, 3, 1, 2]>(m)
        z = Add(a, u)
        y = Conv(z, w4)
        """,
        {"w1": (6, 3, 1, 1), "wd": (6, 1, 3, 3), "w2": (6, 9), "b2": (9,), "w3": (9, 6), "g": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1), "w2": (9, 1)},
    )


def test_detection_head(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = Reshape(a, s5)
        t = Transpose<perm=[0, 1, 3, 4, 2]>(r)
        y = Sigmoid(t)
        """,
        {"w1": (21, 3, 1, 1), "s5": np.array([0, 3, 7, 8, 8])},
        {},
    )


def test_l2_norm_over_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        n = ReduceL2<axes=[1]>(a)
        c = Clip(n, lo)
        d = Div(a, c)
        m = Mul(d, g)
        y = Conv(m, w4)
        """,
        {"w1": (6, 3, 1, 1), "lo": np.float32(1e-05), "g": (1, 6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        unscalable={"w1"},
    )


def test_kernel_made_by_a_network(idiom: Idiom) -> None:
    """CondConv and trackers: both sides stay."""
    idiom(
        """
        a = Conv(x, w1)
        k = Conv(z, wk)
        y = Conv(a, k)
        """,
        {"w1": (6, 3, 1, 1), "wk": (6, 3, 1, 1)},
        {},
        inputs="float[1,3,8,8] x, float[5,3,1,1] z",
        pinned={
            "w1": "its weight is computed from activations, or isn't floating point (Conv 'y')",
            "wk": "its weight is computed from activations, or isn't floating point (Conv 'y')",
        },
    )


def test_grouped_convolutions_on_uneven_parts(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p, q = Split<axis=1>(a, sp)
        b = Conv<group=2>(p, w2)
        c = Concat<axis=1>(b, q)
        d = Conv<group=2>(c, w3)
        y = Conv(d, w4)
        """,
        {"w1": (10, 3, 1, 1), "sp": np.array([4, 6]), "w2": (6, 2, 1, 1), "w3": (8, 6, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1#0": (4, 2), "w1#1": (6, 2), "w3": (8, 2)},
    )


def test_res2net(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p, q, r = Split<axis=1>(a)
        b = Conv(p, w2)
        bq = Add(b, q)
        c = Conv(bq, w3)
        d = Concat<axis=1>(b, c, r)
        z = Conv(d, w5)
        e = Add(z, a)
        y = Conv(e, w4)
        """,
        {"w1": (12, 3, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1), "w5": (12, 12, 1, 1), "w4": (5, 12, 1, 1)},
        {"w1#0": (4, 1), "w1#1": (4, 1), "w1#2": (4, 1), "w3": (4, 1)},
    )


def test_split_attention(idiom: Idiom) -> None:
    idiom(
        """
        c0 = Conv(x, w0)
        a = Conv<group=2>(c0, w1)
        p, q = Split<axis=1>(a)
        u = Add(p, q)
        g = GlobalAveragePool(u)
        h = Conv(g, w2)
        r = Relu(h)
        k = Conv(r, w3)
        kr = Reshape(k, s)
        kt = Transpose<perm=[0, 2, 1, 3]>(kr)
        sm = Softmax<axis=1>(kt)
        fl = Reshape(sm, sf)
        p1, q1 = Split<axis=1>(fl)
        m1 = Mul(p, p1)
        m2 = Mul(q, q1)
        o = Add(m1, m2)
        y = Conv(o, w4)
        """,
        {
            "w0": (8, 3, 1, 1), "w1": (12, 4, 1, 1), "w2": (4, 6, 1, 1), "w3": (12, 4, 1, 1),
            "s": np.array([0, 1, 2, -1]), "sf": np.array([0, -1, 1, 1]), "w4": (5, 6, 1, 1),
        },
        {"w0": (8, 2), "w1": (12, 2), "w2": (4, 1)},
    )


def test_padded_with_zeros_of_its_own_shape(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Shape(a)
        z = ConstantOfShape(s)
        c = Concat<axis=1>(a, z)
        y = Conv(c, w4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1)},
    )


def test_padded_with_zeros_of_a_constant_shape(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Shape(a)
        z = ConstantOfShape(s)
        c = Concat<axis=1>(a, z)
        y = Conv(c, w4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1), "w4:1": (4, 1)},
        inputs="float[2,3,256,256] x",
    )


def test_linear_attention_of_two_heads(idiom: Idiom) -> None:
    idiom(
        """
        c = Conv(x, w1)
        qkv = Conv(c, w2)
        q, k, v = Split<axis=1>(qkv)
        q3 = Reshape(q, s)
        k3 = Reshape(k, s)
        v3 = Reshape(v, s)
        ks = Softmax<axis=3>(k3)
        vt = Transpose<perm=[0, 1, 3, 2]>(v3)
        kv = MatMul(ks, vt)
        kt = Transpose<perm=[0, 1, 3, 2]>(kv)
        o = MatMul(kt, q3)
        o4 = Reshape(o, s4)
        y = Conv(o4, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (24, 6, 1, 1), "s": np.array([0, 2, 4, 64]), "s4": np.array([0, 8, 8, 8]),
            "w4": (5, 8, 1, 1),
        },
        {"w1": (6, 1), "w2": (24, 12)},
    )
