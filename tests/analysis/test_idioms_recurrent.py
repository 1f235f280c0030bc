"""Recurrent layers after a CNN: hidden units are rows of every gate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_lstm_after_a_cnn(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h, hn, cn = LSTM<hidden_size=5>(t, W, R, B)
        q = Squeeze(h, o)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "W": (1, 20, 6), "R": (1, 20, 5), "B": (1, 40), "o": np.array([1]), "w4": (5, 4)},
        {"w1": (6, 1), "W": (20, 4)},
    )


def test_both_directions_with_peepholes_and_states(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h, hn, cn = LSTM<hidden_size=5, direction="bidirectional">(t, W, R, B,, h0, c0, P)
        u = Transpose<perm=[0, 2, 1, 3]>(h)
        q = Reshape(u, s)
        y = MatMul(q, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "W": (2, 20, 6), "R": (2, 20, 5), "B": (2, 40), "h0": (2, 3, 5), "c0": (2, 3, 5),
            "P": (2, 15), "s": np.array([0, 0, -1]), "w4": (10, 4),
        },
        {"w1": (6, 1), "W": (20, 4)},
        inputs="float[3,3,8,8] x",
    )


def test_gru_on_both_directions_of_an_lstm(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h = LSTM<hidden_size=5, direction="bidirectional">(t, W, R, B)
        u = Transpose<perm=[0, 2, 1, 3]>(h)
        q = Reshape(u, s)
        g = GRU<hidden_size=4, linear_before_reset=1>(q, W2, R2, B2)
        qq = Squeeze(g, o)
        y = MatMul(qq, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "W": (2, 20, 6), "R": (2, 20, 5), "B": (2, 40), "s": np.array([0, 0, 10]),
            "W2": (1, 12, 10), "R2": (1, 12, 4), "B2": (1, 24), "o": np.array([1]), "w4": (4, 4),
        },
        {"w1": (6, 1), "W": (20, 4), "W2": (12, 3)},
    )


def test_generated_zero_states(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        sh = Shape(t)
        b = Slice(sh, one, two)
        hs = Concat<axis=0>(one, b, five)
        z = Expand(zero, hs)
        z2 = ConstantOfShape(hs)
        h, hn, cn = LSTM<hidden_size=5>(t, W, R, B,, z, z2)
        q = Squeeze(h, one)
        y = MatMul(q, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "W": (1, 20, 6), "R": (1, 20, 5), "B": (1, 40), "one": np.array([1]),
            "two": np.array([2]), "five": np.array([5]), "zero": np.full((1, 1, 1), 0, np.float32), "w4": (5, 4),
        },
        {"w1": (6, 1), "W": (20, 4)},
    )


def test_last_state_only(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        , hn, cn = LSTM<hidden_size=5>(t, W, R, B)
        q = Squeeze(hn, o)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "W": (1, 20, 6), "R": (1, 20, 5), "B": (1, 40), "o": np.array([0]), "w4": (5, 4)},
        {"w1": (6, 1), "W": (20, 4)},
    )


def test_state_from_outside(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h, hn, cn = LSTM<hidden_size=5>(t, W, R, B,, h0)
        q = Squeeze(h, o)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "W": (1, 20, 6), "R": (1, 20, 5), "B": (1, 40), "o": np.array([1]), "w4": (5, 4)},
        {"w1": (6, 1)},
        inputs="float[2,3,8,8] x, float[1,2,5] h0",
    )


def test_gru(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h, hn = GRU<hidden_size=5>(t, W, R, B)
        q = Squeeze(hn, o)
        y = Gemm(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "W": (1, 15, 6), "R": (1, 15, 5), "B": (1, 30), "o": np.array([0]), "w4": (5, 4)},
        {"w1": (6, 1), "W": (15, 3)},
    )


def test_rnn(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        h = RNN<hidden_size=5>(t, W, R, B)
        q = Squeeze(h, o)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "W": (1, 5, 6), "R": (1, 5, 5), "B": (1, 10), "o": np.array([1]), "w4": (5, 4)},
        {"w1": (6, 1), "W": (5, 1)},
    )


def test_weights_put_in_order_by_nodes(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        wi, wf, wc, wo = Split<axis=0>(Wt)
        wr = Concat<axis=0>(wi, wo, wf, wc)
        W = Unsqueeze(wr, z)
        h = LSTM<hidden_size=5>(t, W, R)
        q = Squeeze(h, o)
        y = MatMul(q, w4)
        """,
        {"w1": (6, 3, 1, 1), "Wt": (20, 6), "z": np.array([0]), "R": (1, 20, 5), "o": np.array([1]), "w4": (5, 4)},
        {"w1": (6, 1), "Wt": (20, 4)},
    )
