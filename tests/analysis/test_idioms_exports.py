"""What exporters leave in the graph: sizes computed while it runs, old operator sets, weights made by nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_weight_norm(idiom: Idiom) -> None:
    idiom(
        """
        sq = Mul(v, v)
        n = ReduceSum(sq, ax)
        rt = Sqrt(n)
        vn = Div(v, rt)
        w = Mul(vn, g)
        a = Conv(x, w)
        r = Relu(a)
        sq2 = Mul(v2, v2)
        n2 = ReduceSum(sq2, ax)
        rt2 = Sqrt(n2)
        vn2 = Div(v2, rt2)
        w2 = Mul(vn2, g2)
        b = Conv(r, w2)
        y = Conv(b, w4)
        """,
        {
            "v": (6, 3, 3, 3), "g": (6, 1, 1, 1), "v2": (4, 6, 3, 3), "g2": (4, 1, 1, 1), "ax": np.array([1, 2, 3]),
            "w4": (5, 4, 1, 1),
        },
        {"v": (6, 1), "v2": (4, 1)},
    )


def test_weights_scaled_by_a_number(idiom: Idiom) -> None:
    idiom(
        """
        w = Mul(v, k)
        a = Conv(x, w)
        r = Relu(a)
        u = Mul(v2, k)
        y = Conv(r, u)
        """,
        {"v": (6, 3, 3, 3), "k": np.float32(0.3), "v2": (5, 6, 1, 1)},
        {"v": (6, 1)},
        pinned={"v:2": "it varies along a kernel axis (Conv 'a')", "v:3": "it varies along a kernel axis (Conv 'a')"},
    )


def test_sum_of_two_kernels(idiom: Idiom) -> None:
    idiom(
        """
        w = Add(v, v3)
        a = Conv<pads=[1, 1, 1, 1]>(x, w)
        r = Relu(a)
        y = Conv(r, v2)
        """,
        {"v": (6, 3, 3, 3), "v3": (6, 3, 3, 3), "v2": (5, 6, 1, 1)},
        {"v": (6, 1)},
        pinned={"v:2": "it varies along a kernel axis (Conv 'a')", "v:3": "it varies along a kernel axis (Conv 'a')"},
    )


def test_blur_pool(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Pad<mode="reflect">(a, pd)
        b = Conv<group=6, strides=[2, 2]>(p, k)
        y = Conv(b, v2)
        """,
        {
            "w1": (6, 3, 1, 1), "k": np.full((6, 1, 3, 3), 1, np.float32), "pd": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "v2": (5, 6, 1, 1),
        },
        {"w1": (6, 1)},
    )


def test_cropped_to_the_size_of_the_input(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = ConvTranspose<strides=[2, 2]>(a, wt)
        s = Shape(x)
        hw = Slice(s, two, four)
        c = Slice(b, zz, hw, ax)
        y = Conv(c, w4)
        """,
        {
            "w1": (6, 3, 3, 3), "wt": (6, 4, 3, 3), "two": np.array([2]), "four": np.array([4]),
            "zz": np.array([0, 0]), "ax": np.array([2, 3]), "w4": (5, 4, 1, 1),
        },
        {"w1": (6, 1), "wt": (4, 1)},
        inputs="float[N,3,H,W] x",
    )


def test_shuffle_with_computed_groups(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Shape(a)
        n = Gather(s, z0)
        c = Gather(s, o0)
        g = Div(c, two0)
        nu = Unsqueeze(n, z)
        gu = Unsqueeze(g, z)
        t = Concat<axis=0>(nu, twov, gu, m1)
        r = Reshape(a, t)
        tr = Transpose<perm=[0, 2, 1, 3]>(r)
        u = Reshape(tr, s)
        y = Conv(u, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "z0": np.array(0), "o0": np.array(1), "two0": np.array(2), "z": np.array([0]),
            "twov": np.array([2]), "m1": np.array([-1]), "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 2)},
        inputs="float[N,3,H,W] x",
    )


def test_channels_gathered_by_a_range(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Shape(a)
        c = Gather(s, o0)
        r = Range(z0, c, o0)
        g = Gather<axis=1>(a, r)
        y = Conv(g, w4)
        """,
        {"w1": (6, 3, 1, 1), "o0": np.array(1), "z0": np.array(0), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_mean_as_sum_over_a_count(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = ReduceSum(a, ax)
        s = Shape(a)
        c = Gather(s, o0)
        cf = Cast<to=1>(c)
        m = Div(u, cf)
        d = Sub(a, m)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "o0": np.array(1), "ax": np.array([1]), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        unscalable={"w1"},
    )


def test_attention_scale_read_off_a_shape(idiom: Idiom) -> None:
    """The scale stays what it was: the width that it was read off is a constant by then."""
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        kt = Transpose<perm=[0, 2, 1]>(k)
        sh = Shape(q)
        d = Gather(sh, m1)
        df = Cast<to=1>(d)
        sq = Sqrt(df)
        f = MatMul(q, kt)
        fs = Div(f, sq)
        p = Softmax<axis=-1>(fs)
        v = MatMul(x, wv)
        o = MatMul(p, v)
        y = MatMul(o, w4)
        """,
        {"wq": (6, 8), "wk": (6, 8), "wv": (6, 4), "m1": np.array(-1), "w4": (4, 5)},
        {"wq": (8, 1), "wv": (4, 1)},
        inputs="float[N,10,6] x",
        unscalable={"wq"},
    )


def test_largest_rows(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        v, i = TopK<axis=2>(a, k)
        y = Conv(v, w4)
        """,
        {"w1": (6, 3, 1, 1), "k": np.array([3]), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_bounds_a_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = Max(a, c)
        n = Min(m, d)
        y = Conv(n, w4)
        """,
        {"w1": (6, 3, 1, 1), "c": (1, 6, 1, 1), "d": (1, 1, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_intermediate_output(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Relu(a)
        z = Conv(b, w4)
        y = Identity(b)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {},
        outputs="float y, float z",
    )


def test_upsample(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Upsample(a, sc)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "sc": np.array([1.0, 1.0, 2.0, 2.0], np.float32), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        opset=9,
    )


def test_resize_of_named_axes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Resize<axes=[2, 3]>(a,,, sz)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "sz": np.array([16, 16]), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        opset=18,
    )


def test_resize_of_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Resize(a,, sc)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "sc": np.array([1.0, 2.0, 1.0, 1.0], np.float32), "w4": (5, 12, 1, 1)},
        {},
        opset=18,
        pinned={"w1": "it is resized (Resize 'u')", "w4:1": "it takes values that are not channels (Conv 'y')"},
    )


def test_channels_as_a_batch_axis(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Flatten<axis=2>(a)
        y = MatMul(b, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (64, 5)},
        {},
        pinned={"w4:0": "it is multiplied with values that are not channels (MatMul 'y')"},
    )


def test_opset_7(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = BatchNormalization(a, g, bb, mu, var)
        c = Dropout(b)
        d = Sum(c, a)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "g": (6,), "bb": (6,), "mu": (6,), "var": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        opset=7,
    )


def test_opset_9_bounds_in_attributes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Pad<pads=[0, 2, 0, 0, 0, 2, 0, 0]>(a)
        q = Slice<axes=[1], starts=[1], ends=[9]>(p)
        y = Conv(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (6, 1), "w4:1": (2, 1)},
        opset=9,
    )


def test_opset_11_axes_in_attributes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = GlobalMaxPool(a)
        q = Squeeze<axes=[2, 3]>(p)
        u = Unsqueeze<axes=[2]>(q)
        v = Squeeze<axes=[2]>(u)
        y = Gemm(v, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (6, 5)},
        {"w1": (6, 1)},
        opset=11,
    )


def test_opset_11_softmax_over_everything_behind_an_axis(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Flatten(a)
        p = Softmax<axis=1>(q)
        y = Gemm(p, w4)
        """,
        {"w1": (6, 3, 8, 8), "w4": (6, 5)},
        {"w1": (6, 1)},
        opset=11,
        inexact={"w1"},
    )


def test_opset_12_parts_in_an_attribute(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p, q = Split<axis=1, split=[2, 4]>(a)
        c = Concat<axis=1>(q, p)
        y = Conv(c, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1#0": (2, 1), "w1#1": (4, 1)},
        opset=12,
    )
