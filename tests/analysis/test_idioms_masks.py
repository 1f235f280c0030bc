"""Masks and indices, one a channel: truth values that are computed, given, or that choose; and what indices look up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]
MASK = np.array([True, False, True, True, False, True])
CHANNEL = MASK.reshape(1, 6, 1, 1)


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("c = Where(k, a, z)", {"k": CHANNEL, "z": np.float32(0.5)}),
        ("c = Where(k, a, b)", {"k": CHANNEL, "b": np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)}),
        ("l = Less(a, t) n = Not(l) c = Where(n, a, z)", {"t": (6, 1, 1), "z": np.float32(0)}),
        ("l = Greater(a, t) o = Or(l, k) e = And(o, l) s = Xor(e, k) f = Cast<to=1>(s) c = Mul(f, a)",
         {"t": (6, 1, 1), "k": CHANNEL}),
        ("g = Sign(a) i = Cast<to=7>(g) q = Equal(i, n) f = Cast<to=1>(q) c = Add(f, a)",
         {"n": np.array([1, -1, 1, 1, 0, -1]).reshape(6, 1, 1)}),
        ("i = Cast<to=6>(a) q = Mod(i, n) f = Cast<to=1>(q) c = Add(f, a)",
         {"n": np.array([1, 2, 3, 4, 5, 6], dtype=np.int32).reshape(6, 1, 1)}),
    ],
)  # fmt: skip
def test_masks_go_with_their_channels(idiom: Idiom, body: str, more: dict[str, object]) -> None:
    idiom(f"a = Conv(x, w1) {body} y = Conv(c, w4)", {"w1": (6, 3, 1, 1), "w4": (5, 6, 1, 1)} | more, {"w1": (6, 1)})


@pytest.mark.parametrize("mask", [MASK, MASK[:4]])
def test_channels_chosen_by_a_mask(idiom: Idiom, mask: np.ndarray) -> None:
    """What is chosen is a group of its own, and what is not; a mask may end early."""
    count = int(mask.sum())
    idiom(
        "a = Conv(x, w1) c = Compress<axis=1>(a, k) y = Conv(c, w4) z = Conv(a, w5)",
        {"w1": (6, 3, 1, 1), "k": mask, "w4": (5, count, 1, 1), "w5": (4, 6, 1, 1)},
        {"w1#0": (count, 1), "w1#1": (6 - count, 1)},
        outputs="float[N,5,8,8] y, float z",
    )


def test_channels_chosen_by_a_mask_that_is_an_input_stay(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(a, w2)
        c = Compress<axis=1>(b, k)
        d = ReduceMean<axes=[1]>(c)
        e = Mul(a, d)
        y = Conv(e, w4)
        """,
        {"w1": (6, 3, 1, 1), "w2": (4, 6, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (6, 1)},
        inputs="float[N,3,8,8] x, bool[4] k",
        outputs="float[N,5,8,8] y",
        pinned={"w2": "some of it is chosen"},
    )


@pytest.mark.parametrize("look", ["g = Gather(t, i)", "j = Unsqueeze(i, m) g = GatherND(t, j)"])
def test_what_is_looked_up_a_channel_has_channels(idiom: Idiom, look: str) -> None:
    """The place of the largest value of each row, one a channel: the channels of indices are those of the result."""
    idiom(
        f"a = Conv(x, w1) i = ArgMax<axis=3, keepdims=0>(a) {look} y = Conv(g, w4)",
        {"w1": (6, 3, 1, 1), "t": (8, 5), "w4": (5, 6, 1, 1), "m": np.array([3])},
        {"w1": (6, 1)},
        outputs="float[N,5,8,5] y",
    )


LAYER = {"s": np.array([-1, 8, 8]), "W": (1, 16, 8), "R": (1, 16, 4), "z": np.array([0]), "u": np.array([2, 24])}


@pytest.mark.parametrize("states", ["", ", , , h0", ", , l"])
def test_channels_as_the_batch_of_a_recurrent_layer(idiom: Idiom, states: str) -> None:
    """A sequence for each channel: channels stay apart, unless each has a first state or a length of its own."""
    given = {"h0": (1, 12, 4), "l": np.full(12, 5, dtype=np.int32)}
    idiom(
        f"""
        a = Conv(x, w1)
        r = Reshape(a, s)
        q = Transpose<perm=[1, 0, 2]>(r)
        every, last = LSTM<hidden_size=4>(q, W, R{states})
        e = Squeeze(last, z)
        f = Reshape(e, u)
        y = Gemm(f, w4)
        """,
        {"w1": (6, 3, 1, 1), "w4": (24, 5)} | LAYER | given,
        {"w1": (6, 1)} if not states else {"W": (16, 4)},
        inputs="float[2,3,8,8] x",
        pinned={} if not states else {"w1": "each has a length or a first state of its own"},
    )


@pytest.mark.parametrize(
    ("sample", "more"),
    [
        ("GridSample(r, g)", {"g": (12, 8, 8, 2)}),
        ("DeformConv(r, k, g)", {"k": (1, 1, 1, 1), "g": (12, 2, 8, 8)}),
    ],
)
def test_channels_as_the_batch_of_a_sampling_stay(idiom: Idiom, sample: str, more: dict[str, object]) -> None:
    idiom(
        f"a = Conv(x, w1) r = Reshape(a, s) q = {sample} f = Reshape(q, u) y = Conv(f, w4)",
        {"w1": (6, 3, 1, 1), "s": np.array([-1, 1, 8, 8]), "u": np.array([2, 6, 8, 8]), "w4": (5, 6, 1, 1)} | more,
        {},
        inputs="float[2,3,8,8] x",
        opset=19,
    )
