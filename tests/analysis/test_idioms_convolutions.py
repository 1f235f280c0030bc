"""Idioms of convolutions and linear layers: groups, depthwise, transposed, shared, tied, without a batch, any rank."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_two_convolutions(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1, b1)
        r = Relu(a)
        y = Conv(r, w2)
        """,
        {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (4, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_depthwise(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = Conv<group=6, pads=[1, 1, 1, 1]>(a, w2, b2)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 1, 3, 3), "b2": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_depthwise_with_multiplier_2(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = Conv<group=6, pads=[1, 1, 1, 1]>(a, w2, b2)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (12, 1, 3, 3), "b2": (12,), "w4": (5, 12, 1, 1)},
        {"w1": (6, 1)},
    )


def test_grouped_convolution_after_concat(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        c = Concat<axis=1>(a, b)
        d = Conv<group=4, pads=[1, 1, 1, 1]>(c, w3, b3)
        y = Conv(d, w4)
        """,
        {"w1": (8, 3, 1, 1), "w2": (16, 3, 1, 1), "w3": (16, 6, 3, 3), "b3": (16,), "w4": (5, 16, 1, 1)},
        {"w1#0": (4, 2), "w1#1": (4, 1), "w3": (16, 4)},
    )


def test_grouped_convolution_across_a_seam(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        c = Concat<axis=1>(a, b)
        d = Conv<group=2, pads=[1, 1, 1, 1]>(c, w3, b3)
        y = Conv(d, w4)
        """,
        {"w1": (5, 3, 1, 1), "w2": (7, 3, 1, 1), "w3": (16, 6, 3, 3), "b3": (16,), "w4": (5, 16, 1, 1)},
        {"w1": (5, 1), "w2": (2, 2), "w3": (16, 2)},
    )


def test_one_output_a_group(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = Conv<group=4>(a, w3)
        y = Conv(d, w4)
        """,
        {"w1": (8, 3, 1, 1), "w3": (4, 2, 1, 1), "w4": (5, 4, 1, 1)},
        {"w1": (8, 2)},
    )


def test_one_dimension(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1]>(x, w1, b1)
        r = Relu(a)
        p = MaxPool<kernel_shape=[2], strides=[2]>(r)
        d = Conv<group=6, auto_pad="SAME_UPPER">(p, w2)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 3), "b1": (6,), "w2": (6, 1, 3), "w4": (5, 6, 1)},
        {"w1": (6, 1)},
        inputs="float[N,3,16] x",
    )


def test_three_dimensions_and_groups(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1, 1, 1]>(x, w1, b1)
        r = Relu(a)
        p = AveragePool<kernel_shape=[2, 2, 2], strides=[2, 2, 2]>(r)
        d = Conv<group=3>(p, w2)
        y = Conv(d, w4)
        """,
        {"w1": (6, 3, 3, 3, 3), "b1": (6,), "w2": (6, 2, 1, 1, 1), "w4": (5, 6, 1, 1, 1)},
        {"w1": (6, 3), "w2": (6, 3)},
        inputs="float[N,3,4,4,4] x",
    )


def test_grouped_transposed_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = ConvTranspose<group=2, strides=[2, 2]>(a, wt, bt)
        y = Conv(t, w4)
        """,
        {"w1": (8, 3, 1, 1), "wt": (8, 3, 2, 2), "bt": (6,), "w4": (5, 6, 1, 1)},
        {"w1": (8, 2), "wt": (3, 1)},
    )


def test_depthwise_transposed_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = ConvTranspose<group=8, strides=[2, 2]>(a, wt, bt)
        y = Conv(t, w4)
        """,
        {"w1": (8, 3, 1, 1), "wt": (8, 1, 2, 2), "bt": (8,), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_depthwise_transposed_convolution_with_multiplier_2(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = ConvTranspose<group=8, strides=[2, 2]>(a, wt, bt)
        y = Conv(t, w4)
        """,
        {"w1": (8, 3, 1, 1), "wt": (8, 2, 2, 2), "bt": (16,), "w4": (5, 16, 1, 1)},
        {"w1": (8, 1)},
    )


def test_auto_pad(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<auto_pad="SAME_UPPER", strides=[2, 2]>(x, w1)
        b = Conv<auto_pad="SAME_LOWER">(a, w2)
        c = Add(a, b)
        d = MaxPool<auto_pad="VALID", kernel_shape=[2, 2]>(c)
        e = Conv<auto_pad="VALID">(d, w3)
        y = Conv(e, w4)
        """,
        {"w1": (6, 3, 3, 3), "w2": (6, 6, 3, 3), "w3": (4, 6, 1, 1), "w4": (5, 4, 1, 1)},
        {"w1": (6, 1), "w3": (4, 1)},
    )


def test_siamese(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(z, w1)
        d = Sub(a, b)
        q = Abs(d)
        y = Conv(q, w4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 4, 1, 1)},
        {"w1": (4, 1)},
        inputs="float[N,3,8,8] x,float[N,3,8,8] z",
    )


def test_one_convolution_used_twice(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        r = Relu(b)
        c = Conv(r, w2)
        y = Conv(c, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "w4": (5, 4, 1, 1)},
        {"w1": (4, 1)},
    )


def test_head_shared_by_two_levels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv<strides=[2, 2]>(a, w2)
        pa = Conv(a, h)
        pb = Conv(b, h)
        qa = Relu(pa)
        qb = Relu(pb)
        y = Conv(qa, w4)
        z = Conv(qb, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "h": (6, 4, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (4, 1), "h": (6, 1)},
        outputs="float y, float z",
    )


def test_decoder_tied_to_the_encoder(idiom: Idiom) -> None:
    """What makes a copy in one use divides it in the other: such a group doesn't widen exactly."""
    idiom(
        """
        a = Gemm(x, w1)
        r = Relu(a)
        b = Gemm(r, w2)
        q = Relu(b)
        c = Gemm<transB=1>(q, w2)
        y = Gemm(c, w4)
        """,
        {"w1": (6, 8), "w2": (8, 4), "w4": (8, 3)},
        {"w1": (8, 1), "w2:1": (4, 1)},
        inputs="float[N,6] x",
        unscalable={"w1", "w2:1"},
    )


def test_einsum_1x1(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        u = Einsum<equation="bchw, oc->bohw">(a, w2)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (7, 6), "w4": (5, 7, 1, 1)},
        {"w1": (6, 1), "w2": (7, 1)},
    )


def test_einsum_with_dots(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        u = Einsum<equation="...c, co->...o">(t, w2)
        r = Relu(u)
        y = Einsum<equation="...c, co->...o">(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 7), "w4": (7, 5)},
        {"w1": (6, 1), "w2": (7, 1)},
    )


def test_channels_last_through_transposes(idiom: Idiom) -> None:
    idiom(
        """
        t = Transpose<perm=[0, 3, 1, 2]>(x)
        a = Conv<pads=[1, 1, 1, 1]>(t, w1)
        u = Transpose<perm=[0, 2, 3, 1]>(a)
        b = Add(u, bb)
        r = Relu(b)
        v = Transpose<perm=[0, 3, 1, 2]>(r)
        c = Conv<pads=[1, 1, 1, 1]>(v, w2)
        w = Transpose<perm=[0, 2, 3, 1]>(c)
        q = Concat<axis=-1>(r, w)
        m = ReduceMean<axes=[1, 2], keepdims=0>(q)
        y = MatMul(m, w4)
        """,
        {"w1": (4, 3, 3, 3), "bb": (4,), "w2": (6, 4, 3, 3), "w4": (10, 5)},
        {"w1": (4, 1), "w2": (6, 1)},
        inputs="float[N,8,8,3] x",
    )


def test_channels_last_flattened(idiom: Idiom) -> None:
    idiom(
        """
        t = Transpose<perm=[0, 3, 1, 2]>(x)
        a = Conv<pads=[1, 1, 1, 1]>(t, w1)
        u = Transpose<perm=[0, 2, 3, 1]>(a)
        f = Reshape(u, s)
        y = MatMul(f, w4)
        """,
        {"w1": (4, 3, 3, 3), "s": np.array([-1, 256]), "w4": (256, 5)},
        {"w1": (4, 1)},
        inputs="float[N,8,8,3] x",
    )


def test_flatten_into_gemm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        f = Flatten(a)
        r = Relu(f)
        y = Gemm<transB=1>(r, w4, b4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 256), "b4": (5,)},
        {"w1": (4, 1)},
    )


def test_flatten_and_hidden_layer(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        f = Flatten(a)
        h = Gemm<transB=1>(f, w2, b2)
        r = Relu(h)
        y = Gemm(r, w4, b4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (6, 256), "b2": (6,), "w4": (6, 5), "b4": (5,)},
        {"w1": (4, 1), "w2": (6, 1)},
    )


def test_gemm_with_both_operands_transposed(idiom: Idiom) -> None:
    idiom(
        """
        h = Gemm<transA=1, transB=1>(x, w2, b2)
        r = Relu(h)
        y = Gemm(r, w4, b4)
        """,
        {"w2": (6, 8), "b2": (1, 6), "w4": (6, 5), "b4": (5,)},
        {"w2": (6, 1)},
        inputs="float[8,4] x",
    )


def test_weight_on_the_left(idiom: Idiom) -> None:
    idiom(
        """
        h = MatMul(w2, x)
        r = Relu(h)
        y = MatMul(w4, r)
        """,
        {"w2": (6, 8), "w4": (5, 6)},
        {"w2": (6, 1)},
        inputs="float[8,4] x",
    )


def test_weight_transposed_by_a_node(idiom: Idiom) -> None:
    idiom(
        """
        wt = Transpose<perm=[1, 0]>(w2)
        h = MatMul(x, wt)
        r = Relu(h)
        y = MatMul(r, w4)
        """,
        {"w2": (6, 8), "w4": (6, 5)},
        {"w2": (6, 1)},
        inputs="float[4,8] x",
    )


def test_weights_in_constant_nodes(idiom: Idiom) -> None:
    idiom(
        """
        w = Constant<value=float[2,3,1,1]{1,2,3,4,5,6}>()
        b = Constant<value_floats=[1.0, 2.0]>()
        a = Conv(x, w, b)
        r = Relu(a)
        y = Conv(r, w4)
        """,
        {"w4": (5, 2, 1, 1)},
        {"w": (2, 1)},
    )


def test_dynamic_height_and_width(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<strides=[2, 2]>(x, w1)
        s = Shape(a)
        r = Reshape(a, s3)
        t = Transpose<perm=[0, 2, 1]>(r)
        l = MatMul(t, w2)
        u = Transpose<perm=[0, 2, 1]>(l)
        hw = Slice(s, two, four)
        nb = Concat<axis=0>(ab, hw)
        q = Reshape(u, nb)
        y = Conv(q, w4)
        """,
        {
            "w1": (6, 3, 3, 3), "s3": np.array([0, 6, -1]), "w2": (6, 6), "two": np.array([2]), "four": np.array([4]),
            "ab": np.array([-1, 6]), "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1), "w2": (6, 1)},
        inputs="float[N,3,H,W] x",
    )


def test_dynamic_sizes_read_one_by_one(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<strides=[2, 2]>(x, w1)
        s = Shape(a)
        n = Gather(s, i0)
        c = Gather(s, i1)
        h = Gather(s, i2)
        w = Gather(s, i3)
        hw = Mul(h, w)
        nu = Unsqueeze(n, z)
        cu = Unsqueeze(c, z)
        hwu = Unsqueeze(hw, z)
        s3 = Concat<axis=0>(nu, cu, hwu)
        r = Reshape(a, s3)
        t = Transpose<perm=[0, 2, 1]>(r)
        l = MatMul(t, w2)
        u = Transpose<perm=[0, 2, 1]>(l)
        hu = Unsqueeze(h, z)
        wu = Unsqueeze(w, z)
        nb = Concat<axis=0>(nu, cu, hu, wu)
        q = Reshape(u, nb)
        y = Conv(q, w4)
        """,
        {
            "w1": (6, 3, 3, 3), "i0": np.array(0), "i1": np.array(1), "i2": np.array(2), "i3": np.array(3),
            "z": np.array([0]), "w2": (6, 6), "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1), "w2": (6, 1)},
        inputs="float[N,3,H,W] x",
    )


def test_image_without_a_batch(idiom: Idiom) -> None:
    idiom(
        """
        u = Unsqueeze(x, z)
        a = Conv(u, w1)
        r = Relu(a)
        b = Conv(r, w4)
        y = Squeeze(b, z)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1), "z": np.array([0])},
        {"w1": (6, 1)},
        inputs="float[3,8,8] x",
    )


def test_channels_in_the_first_axis(idiom: Idiom) -> None:
    idiom(
        """
        u = Unsqueeze(x, z)
        a = Conv(u, w1)
        r = Squeeze(a, z)
        m = Mul(r, k)
        q = ReduceMean<axes=[1, 2], keepdims=0>(m)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "k": (6, 1, 1), "w4": (6, 5), "z": np.array([0])},
        {"w1": (6, 1)},
        inputs="float[3,8,8] x",
    )


def test_one_channel_between_convolutions(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = Relu(a)
        b = Conv(r, w2)
        g = Sigmoid(b)
        m = Mul(r, g)
        c = Conv<group=1>(m, w3)
        y = Conv(c, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (1, 6, 1, 1), "w3": (1, 6, 1, 1), "w4": (5, 1, 1, 1)},
        {"w1": (6, 1), "w3": (1, 1)},
        pinned={"w2": "it is broadcast (Mul 'm')"},
    )


def test_a_single_channel_in_and_out(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        r = Relu(a)
        y = Conv(r, w4)
        """,
        {"w1": (1, 1, 3, 3), "w4": (5, 1, 1, 1)},
        {"w1": (1, 1)},
        inputs="float[N,1,8,8] x",
    )


def test_depthwise_on_one_channel(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = Conv<group=1>(a, w2)
        e = Conv(d, w3)
        y = Conv(e, w4)
        """,
        {"w1": (1, 3, 1, 1), "w2": (1, 1, 1, 1), "w3": (6, 1, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (1, 1), "w2": (1, 1), "w3": (6, 1)},
    )
