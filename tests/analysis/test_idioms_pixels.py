"""Idioms that move pixels: PixelShuffle, Focus, U-Nets, grids, regions, unpooling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_depth_to_space_dcr(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = DepthToSpace<blocksize=2, mode="DCR">(a)
        r = Relu(d)
        y = Conv(r, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 3, 1, 1)},
        {"w1": (12, 4)},
    )


def test_depth_to_space_crd(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = DepthToSpace<blocksize=2, mode="CRD">(a)
        r = Relu(d)
        y = Conv(r, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 3, 1, 1)},
        {"w1": (12, 4)},
    )


def test_pixel_shuffle_by_reshape(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s6)
        t = Transpose<perm=[0, 1, 4, 2, 5, 3]>(q)
        d = Reshape(t, s4)
        y = Conv(d, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 3, 1, 1), "s6": np.array([-1, 3, 2, 2, 8, 8]), "s4": np.array([-1, 3, 16, 16])},
        {"w1": (12, 4)},
    )


def test_space_to_depth(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = SpaceToDepth<blocksize=2>(a)
        r = Relu(d)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 24, 1, 1)},
        {"w1": (6, 1)},
    )


def test_pixel_unshuffle_by_reshape(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s6)
        t = Transpose<perm=[0, 1, 3, 5, 2, 4]>(q)
        d = Reshape(t, s4)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 24, 1, 1), "s6": np.array([-1, 6, 4, 2, 4, 2]), "s4": np.array([-1, 24, 4, 4])},
        {"w1": (6, 1)},
    )


def test_focus(idiom: Idiom) -> None:
    """YOLOv5: every second pixel, four times."""
    idiom(
        """
        a = Conv(x, w1)
        p = Slice(a, z, e, h, two)
        q = Slice(a, o, e, h, two)
        pp = Slice(p, z, e, w, two)
        pq = Slice(p, o, e, w, two)
        qp = Slice(q, z, e, w, two)
        qq = Slice(q, o, e, w, two)
        d = Concat<axis=1>(pp, qp, pq, qq)
        y = Conv(d, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w4": (5, 24, 1, 1), "z": np.array([0]), "o": np.array([1]),
            "e": np.array([2147483647]), "h": np.array([2]), "w": np.array([3]), "two": np.array([2]),
        },
        {"w1": (6, 1)},
    )


def test_unet_with_transposed_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        d = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        b = Conv<pads=[1, 1, 1, 1]>(d, w2)
        u = ConvTranspose<kernel_shape=[2, 2], strides=[2, 2]>(b, wt, bt)
        c = Concat<axis=1>(a, u)
        e = Conv(c, w3)
        y = Conv(e, w4)
        """,
        {
            "w1": (4, 3, 3, 3), "w2": (8, 4, 3, 3), "wt": (8, 4, 2, 2), "bt": (4,), "w3": (6, 8, 1, 1),
            "w4": (5, 6, 1, 1),
        },
        {"w1": (4, 1), "w2": (8, 1), "wt": (4, 1), "w3": (6, 1)},
    )


def test_unet_with_resize_by_scales(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        d = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        b = Conv<pads=[1, 1, 1, 1]>(d, w2)
        u = Resize(b,, sc)
        c = Concat<axis=1>(a, u)
        e = Conv(c, w3)
        y = Conv(e, w4)
        """,
        {
            "w1": (4, 3, 3, 3), "w2": (8, 4, 3, 3), "sc": np.array([1.0, 1.0, 2.0, 2.0], np.float32),
            "w3": (6, 12, 1, 1), "w4": (5, 6, 1, 1),
        },
        {"w1": (4, 1), "w2": (8, 1), "w3": (6, 1)},
    )


def test_unet_with_resize_by_sizes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        d = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        b = Conv<pads=[1, 1, 1, 1]>(d, w2)
        u = Resize(b,,, sz)
        c = Concat<axis=1>(a, u)
        e = Conv(c, w3)
        y = Conv(e, w4)
        """,
        {"w1": (4, 3, 3, 3), "w2": (8, 4, 3, 3), "sz": np.array([2, 8, 8, 8]), "w3": (6, 12, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (4, 1), "w2": (8, 1), "w3": (6, 1)},
        inputs="float[2,3,8,8] x",
    )


def test_unet_resized_to_the_shape_of_the_skip(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        d = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        b = Conv<pads=[1, 1, 1, 1]>(d, w2)
        sa = Shape(a)
        hw = Slice(sa, two, four)
        sb = Shape(b)
        nc = Slice(sb, zero, two)
        sz = Concat<axis=0>(nc, hw)
        u = Resize(b,,, sz)
        c = Concat<axis=1>(a, u)
        e = Conv(c, w3)
        y = Conv(e, w4)
        """,
        {
            "w1": (4, 3, 3, 3), "w2": (8, 4, 3, 3), "two": np.array([2]), "four": np.array([4]),
            "zero": np.array([0]), "w3": (6, 12, 1, 1), "w4": (5, 6, 1, 1),
        },
        {"w1": (4, 1), "w2": (8, 1), "w3": (6, 1)},
        inputs="float[N,3,H,W] x",
    )


def test_grid_sample(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = GridSample(a, gr)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "gr": np.random.default_rng(0).random((2, 6, 7, 2), np.float32)},
        {"w1": (8, 1)},
        inputs="float[2,3,8,8] x",
        opset=20,
    )


def test_spatial_transformer(idiom: Idiom) -> None:
    idiom(
        """
        p = GlobalAveragePool(x)
        f = Flatten(p)
        l = Gemm(f, wl)
        t = Reshape(l, s)
        g = AffineGrid(t, sz)
        a = Conv(x, w1)
        q = GridSample(a, g)
        y = Conv(q, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "wl": (3, 6), "s": np.array([-1, 2, 3]), "sz": np.array([2, 3, 8, 8])},
        {"w1": (8, 1)},
        inputs="float[2,3,8,8] x",
        opset=20,
        pinned={"wl": "its values are positions (AffineGrid 'g')"},
    )


def test_roi_align(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = RoiAlign<output_height=3, output_width=3>(a, r, b)
        y = Conv(g, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1),
            "r": np.array([0.0, 0.0, 4.0, 4.0, 1.0, 1.0, 6.0, 6.0], np.float32).reshape(2, 4), "b": np.array([0, 1]),
        },
        {"w1": (8, 1)},
        inputs="float[2,3,8,8] x",
        opset=20,
    )


def test_max_unpool(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        r = Relu(p)
        u = MaxUnpool<kernel_shape=[2, 2], strides=[2, 2]>(r, i)
        y = Conv(u, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        opset=20,
    )


def test_col2im(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        f = Reshape(a, s)
        u = Col2Im(f, im, bl)
        y = Conv(u, w4)
        """,
        {
            "w1": (8, 3, 1, 1), "w4": (5, 2, 1, 1), "s": np.array([0, 8, 64]), "im": np.array([9, 9]),
            "bl": np.array([2, 2]),
        },
        {"w1": (8, 4)},
        opset=20,
    )


def test_center_crop_pad(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = CenterCropPad<axes=[2, 3]>(a, sz)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "sz": np.array([6, 10])},
        {"w1": (8, 1)},
        opset=20,
    )


def test_reverse_sequence(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[2, 0, 1, 3]>(a)
        g = ReverseSequence(t, l)
        u = Transpose<perm=[1, 2, 0, 3]>(g)
        y = Conv(u, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "l": np.array([3, 5])},
        {"w1": (8, 1)},
        inputs="float[2,3,8,8] x",
        opset=20,
    )


def test_triangle_of_each_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = Trilu(a)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        opset=20,
    )


def test_determinant_of_each_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = Det(a)
        y = MatMul(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (8, 5)},
        {"w1": (8, 1)},
        opset=20,
    )


def test_spectrum_of_each_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Unsqueeze(a, m)
        g = DFT(u,, ax)
        r = ReduceSumSquare<keepdims=0>(g, m)
        y = Conv(r, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "m": np.array([-1]), "ax": np.array(3)},
        {"w1": (8, 1)},
        opset=20,
    )


def test_one_hot_of_argmax(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = ArgMax<axis=1, keepdims=0>(a)
        o = OneHot<axis=1>(g, d, v)
        y = Conv(o, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "d": np.array(8), "v": np.array([0.0, 1.0], np.float32)},
        {},
        opset=20,
        pinned={
            "w1": "positions on this axis come out (ArgMax 'g')",
            "w4:1": "it takes values that are not channels (Conv 'y')",
        },
    )


def test_compressed_rows(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = Compress<axis=2>(a, k)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "k": np.array([True, False, True, True])},
        {"w1": (8, 1)},
        opset=20,
    )


def test_running_sum_over_rows(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        g = CumSum(a, ax)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w4": (5, 8, 1, 1), "ax": np.array(2)},
        {"w1": (8, 1)},
        opset=20,
    )


def test_deformable_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        o = Conv<pads=[1, 1, 1, 1]>(a, wo)
        g = DeformConv<pads=[1, 1, 1, 1]>(a, w2, o, b2)
        y = Conv(g, w4)
        """,
        {"w1": (6, 3, 1, 1), "wo": (18, 6, 3, 3), "w2": (8, 6, 3, 3), "b2": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (6, 1), "w2": (8, 1)},
        opset=20,
        pinned={"wo": "its values are positions (DeformConv 'g')"},
    )


def test_depthwise_deformable_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        o = Conv<pads=[1, 1, 1, 1]>(a, wo)
        g = DeformConv<group=6, pads=[1, 1, 1, 1]>(a, w2, o, b2)
        y = Conv(g, w4)
        """,
        {"w1": (6, 3, 1, 1), "wo": (18, 6, 3, 3), "w2": (6, 1, 3, 3), "b2": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        opset=20,
        pinned={"wo": "its values are positions (DeformConv 'g')"},
    )
