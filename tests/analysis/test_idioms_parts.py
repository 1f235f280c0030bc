"""Idioms that cut channels up and put them together: Split, Slice, Gather, Concat, shuffles, Pad, Expand, Tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_c2f_chunk(idiom: Idiom) -> None:
    """YOLOv8: both halves of a chunk, and what the second becomes, are joined."""
    idiom(
        """
        a = Conv(x, w1)
        s0, s1 = Split<axis=1, num_outputs=2>(a)
        m1 = Conv<pads=[1, 1, 1, 1]>(s1, w2)
        r1 = Relu(m1)
        m2 = Conv<pads=[1, 1, 1, 1]>(r1, w3)
        t1 = Add(s1, m2)
        c = Concat<axis=1>(s0, s1, t1)
        y = Conv(c, w4)
        """,
        {"w1": (16, 3, 1, 1), "w2": (6, 8, 3, 3), "w3": (8, 6, 3, 3), "w4": (5, 24, 1, 1)},
        {"w1#0": (8, 1), "w1#1": (8, 1), "w2": (6, 1)},
        opset=18,
    )


def test_uneven_split(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s0, s1, s2 = Split<axis=1>(a, parts)
        r = Relu(s1)
        q = Conv(s2, w2)
        c = Concat<axis=1>(s0, r, q)
        y = Conv(c, w4)
        """,
        {"w1": (12, 3, 1, 1), "w2": (4, 2, 1, 1), "w4": (5, 14, 1, 1), "parts": np.array([3, 7, 2])},
        {"w1#0": (3, 1), "w1#1": (7, 1), "w1#2": (2, 1), "w2": (4, 1)},
    )


def test_slice_with_stride(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        e = Slice(a, st0, en, ax, sp)
        o = Slice(a, st1, en, ax, sp)
        s = Add(e, o)
        y = Conv(s, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w4": (5, 6, 1, 1), "st0": np.array([0]), "st1": np.array([1]),
            "en": np.array([2147483647]), "ax": np.array([1]), "sp": np.array([2]),
        },
        {"w1": (12, 2)},
    )


def test_flip_beside_another_branch(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        e = Slice(a, st, en, ax, sp)
        b = Conv(x, w2)
        s = Mul(e, b)
        y = Conv(s, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w2": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "st": np.array([-1]),
            "en": np.array([-2147483648]), "ax": np.array([1]), "sp": np.array([-1]),
        },
        {"w1": (12, 1)},
    )


def test_flip_multiplied_with_itself(idiom: Idiom) -> None:
    """Channels i and C-1-i are a pair."""
    idiom(
        """
        a = Conv(x, w1)
        e = Slice(a, st, en, ax, sp)
        s = Mul(e, a)
        y = Conv(s, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "st": np.array([-1]), "en": np.array([-2147483648]),
            "ax": np.array([1]), "sp": np.array([-1]),
        },
        {"w1": (12, 2)},
    )


def test_flip_of_an_odd_width(idiom: Idiom) -> None:
    """The middle channel is its own pair: a group of its own."""
    idiom(
        """
        a = Conv(x, w1)
        e = Slice(a, st, en, ax, sp)
        s = Mul(e, a)
        y = Conv(s, w4)
        """,
        {
            "w1": (7, 3, 1, 1), "w4": (5, 7, 1, 1), "st": np.array([-1]), "en": np.array([-2147483648]),
            "ax": np.array([1]), "sp": np.array([-1]),
        },
        {"w1#0": (6, 2), "w1#1": (1, 1)},
    )


def test_roll(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        h = Slice(a, n4, en, ax)
        t = Slice(a, z, n4, ax)
        e = Concat<axis=1>(h, t)
        y = Conv(e, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "n4": np.array([8]), "z": np.array([0]),
            "en": np.array([2147483647]), "ax": np.array([1]),
        },
        {"w1#0": (8, 1), "w1#1": (4, 1)},
    )


def test_roll_added_to_itself(idiom: Idiom) -> None:
    """Channels that are reached from one another by steps of 8 modulo 12 go together."""
    idiom(
        """
        a = Conv(x, w1)
        h = Slice(a, n4, en, ax)
        t = Slice(a, z, n4, ax)
        e = Concat<axis=1>(h, t)
        s = Add(e, a)
        y = Conv(s, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "n4": np.array([8]), "z": np.array([0]),
            "en": np.array([2147483647]), "ax": np.array([1]),
        },
        {"w1": (12, 3)},
    )


def test_shuffle_by_reshape_and_transpose(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s5)
        t = Transpose<perm=[0, 2, 1, 3, 4]>(q)
        e = Reshape(t, s4)
        y = Conv(e, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "s5": np.array([0, 2, 6, 8, 8]), "s4": np.array([0, 12, 8, 8])},
        {"w1": (12, 2)},
    )


def test_shuffle_by_split_and_concat(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        h, t = Split<axis=1>(a)
        hu = Unsqueeze(h, two)
        tu = Unsqueeze(t, two)
        q = Concat<axis=2>(hu, tu)
        e = Reshape(q, s4)
        y = Conv(e, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "two": np.array([2]), "s4": np.array([0, 12, 8, 8])},
        {"w1": (12, 2)},
    )


def test_shuffle_by_gather(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        e = Gather<axis=1>(a, p)
        y = Conv(e, w4)
        """,
        {"w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1), "p": np.array([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11])},
        {"w1": (12, 1)},
    )


def test_shuffle_by_gathernd(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[1, 0, 2, 3]>(a)
        g0 = GatherND(t, p)
        e = Transpose<perm=[1, 0, 2, 3]>(g0)
        y = Conv(e, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w4": (5, 12, 1, 1),
            "p": np.array([[0], [6], [1], [7], [2], [8], [3], [9], [4], [10], [5], [11]]),
        },
        {"w1": (12, 1)},
    )


def test_shuffle_by_reshape_before_a_grouped_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Reshape(a, s5)
        t = Transpose<perm=[0, 2, 1, 3, 4]>(q)
        e = Reshape(t, s4)
        g = Conv<group=2>(e, w2)
        y = Conv(g, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w2": (12, 6, 1, 1), "w4": (5, 12, 1, 1), "s5": np.array([0, 2, 6, 8, 8]),
            "s4": np.array([0, 12, 8, 8]),
        },
        {"w1": (12, 4), "w2": (12, 2)},
    )


def test_shuffle_by_split_before_a_grouped_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        h, t = Split<axis=1>(a)
        hu = Unsqueeze(h, two)
        tu = Unsqueeze(t, two)
        q = Concat<axis=2>(hu, tu)
        e = Reshape(q, s4)
        g = Conv<group=2>(e, w2)
        y = Conv(g, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w2": (12, 6, 1, 1), "w4": (5, 12, 1, 1), "two": np.array([2]),
            "s4": np.array([0, 12, 8, 8]),
        },
        {"w1": (12, 4), "w2": (12, 2)},
    )


def test_shuffle_by_gather_before_a_grouped_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        e = Gather<axis=1>(a, p)
        g = Conv<group=2>(e, w2)
        y = Conv(g, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w2": (12, 6, 1, 1), "w4": (5, 12, 1, 1),
            "p": np.array([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]),
        },
        {"w1": (12, 2), "w2": (12, 2)},
    )


def test_shuffle_by_gathernd_before_a_grouped_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[1, 0, 2, 3]>(a)
        g0 = GatherND(t, p)
        e = Transpose<perm=[1, 0, 2, 3]>(g0)
        g = Conv<group=2>(e, w2)
        y = Conv(g, w4)
        """,
        {
            "w1": (12, 3, 1, 1), "w2": (12, 6, 1, 1), "w4": (5, 12, 1, 1),
            "p": np.array([[0], [6], [1], [7], [2], [8], [3], [9], [4], [10], [5], [11]]),
        },
        {"w1": (12, 2), "w2": (12, 2)},
    )


def test_permuted_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Gather<axis=1>(a, p)
        y = Conv(t, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1), "p": np.array([3, 1, 5, 0, 2, 4])},
        {"w1": (6, 1)},
    )


def test_permuted_by_negative_indices(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Gather<axis=1>(a, p)
        y = Conv(t, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1), "p": np.array([-1, -2, -3, -4, -5, -6])},
        {"w1": (6, 1)},
    )


def test_permutation_added_to_itself(idiom: Idiom) -> None:
    """Cycles of the permutation go together: lengths 1, 2 and 3 make three groups."""
    idiom(
        """
        a = Conv(x, w1)
        t = Gather<axis=1>(a, p)
        u = Add(t, a)
        y = Conv(u, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1), "p": np.array([3, 1, 5, 0, 2, 4])},
        {"w1#0": (2, 2), "w1#1": (1, 1), "w1#2": (3, 3)},
    )


def test_shortcut_padded_with_channels(idiom: Idiom) -> None:
    """ResNet's option A."""
    idiom(
        """
        c0 = Conv(x, w9)
        a = Conv<strides=[2, 2], pads=[1, 1, 1, 1]>(c0, w0)
        b = Slice(c0, z, e, ax, two)
        p = Pad(b, pd)
        u = Add(a, p)
        y = Conv(u, w4)
        """,
        {
            "w9": (4, 3, 1, 1), "w0": (8, 4, 3, 3), "z": np.array([0, 0]), "e": np.array([2147483647, 2147483647]),
            "ax": np.array([2, 3]), "two": np.array([2, 2]), "pd": np.array([0, 2, 0, 0, 0, 2, 0, 0]),
            "w4": (5, 8, 1, 1),
        },
        {"w9": (4, 1), "w0": (4, 1)},
    )


def test_channels_padded_at_the_end(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Pad(a, pd)
        b = Conv(x, w2)
        u = Add(b, p)
        y = Conv(u, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (8, 3, 1, 1), "pd": np.array([0, 0, 0, 0, 0, 4, 0, 0]), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1), "w2": (4, 1)},
    )


def test_one_channel_expanded_to_many(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[1], keepdims=1>(a)
        p = Expand(m, sz)
        b = Conv(x, w2)
        u = Add(b, p)
        y = Conv(u, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (8, 3, 1, 1), "sz": np.array([1, 8, 8, 8]), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1), "w2": (8, 1)},
        inexact={"w1"},
    )


def test_expand_repeats_the_width(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = GlobalAveragePool(a)
        p = Expand(m, sz)
        u = Add(a, p)
        y = Conv(u, w4)
        """,
        {"w1": (8, 3, 1, 1), "sz": np.array([1, 8, 8, 8]), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
    )


def test_expanded_channels_into_a_convolution(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Expand(a, sz)
        y = Conv(p, w4)
        """,
        {"w1": (1, 3, 1, 1), "sz": np.array([1, 8, 8, 8]), "w4": (5, 8, 1, 1)},
        {"w4:1": (8, 1)},
        pinned={"w1": "it is broadcast (Expand 'p')"},
    )


def test_tiled_channels(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Tile(a, sz)
        y = Conv(p, w4)
        """,
        {"w1": (4, 3, 1, 1), "sz": np.array([1, 2, 1, 1]), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1)},
    )


def test_repeat_interleave(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        q = Unsqueeze(a, two)
        p = Expand(q, sz)
        c = Reshape(p, s4)
        y = Conv(c, w4)
        """,
        {
            "w1": (4, 3, 1, 1), "sz": np.array([1, 1, 3, 1, 1]), "two": np.array([2]), "s4": np.array([0, 12, 8, 8]),
            "w4": (5, 12, 1, 1),
        },
        {"w1": (4, 1)},
    )


def test_the_same_tensor_concatenated_twice(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Concat<axis=1>(a, a)
        y = Conv(p, w4)
        """,
        {"w1": (4, 3, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (4, 1)},
    )


def test_concat_with_the_raw_input(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        p = Concat<axis=1>(x, a)
        b = Conv(p, w2)
        y = Conv(b, w4)
        """,
        {"w1": (4, 3, 1, 1), "w2": (6, 7, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (4, 1), "w2": (6, 1)},
    )


def test_stack_and_sum(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        au = Unsqueeze(a, z)
        bu = Unsqueeze(b, z)
        c = Concat<axis=0>(au, bu)
        r = ReduceSum<keepdims=0>(c, z)
        y = Conv(r, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "z": np.array([0]), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_selective_kernel(idiom: Idiom) -> None:
    """SKNet: two branches stacked, weighed by a softmax over the branches, summed."""
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        au = Unsqueeze(a, o)
        bu = Unsqueeze(b, o)
        c = Concat<axis=1>(au, bu)
        su = ReduceSum<keepdims=0>(c, o)
        p = GlobalAveragePool(su)
        d = Conv(p, w3)
        r = Relu(d)
        g = Conv(r, w5)
        gr = Reshape(g, s5)
        sm = Softmax<axis=1>(gr)
        m = Mul(c, sm)
        q = ReduceSum<keepdims=0>(m, o)
        y = Conv(q, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "w3": (4, 6, 1, 1), "w5": (12, 4, 1, 1),
            "s5": np.array([0, 2, 6, 1, 1]), "o": np.array([1]), "w4": (5, 6, 1, 1),
        },
        {"w1": (6, 1), "w3": (4, 1)},
    )


def test_batch_axis_concat(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        c = Concat<axis=0>(a, b)
        y = Conv(c, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
    )


def test_batch_axis_concat_and_split(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        c = Concat<axis=0>(a, b)
        d = Conv(c, w3)
        p, q = Split<axis=0>(d)
        e = Concat<axis=1>(p, q)
        y = Conv(e, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "w3": (4, 6, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (6, 1), "w3": (4, 1)},
    )
