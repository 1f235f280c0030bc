"""Tensors that are one number everywhere (zeros of a state, a mask, a shift) take any width, as a weight does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis, analyze
from chanc.testing.builders import build

Idiom = Callable[..., Analysis]
ONE = "float[1,3,8,8] x"
JOINED = {"w1": (6, 3, 1, 1), "w2": (8, 10, 3, 3), "w3": (5, 8, 1, 1)}
JOIN = """
    c = Concat<axis=1>(a, z)
    b = Conv<pads=[1, 1, 1, 1]>(c, w2)
    r = Relu(b)
    y = Conv(r, w3)
"""


def test_a_constant_size(idiom: Idiom) -> None:
    found = idiom(
        f"a = Conv(x, w1)\n z = ConstantOfShape(s)\n {JOIN}", {**JOINED, "s": np.array([1, 4, 8, 8])},
        {"w1": (6, 1), "w2:1": (4, 1), "w2": (8, 1)}, inputs=ONE,
    )  # fmt: skip
    assert found.params == sum(int(np.prod(shape)) for shape in JOINED.values())


def test_a_number_expanded(idiom: Idiom) -> None:
    idiom(
        f"a = Conv(x, w1)\n z = Expand(half, s)\n {JOIN}",
        {**JOINED, "s": np.array([1, 4, 8, 8]), "half": np.float32(0.5)},
        {"w1": (6, 1), "w2:1": (4, 1), "w2": (8, 1)}, inputs=ONE,
    )  # fmt: skip


def test_an_open_batch(idiom: Idiom) -> None:
    idiom(
        f"""
        a = Conv(x, w1)
        n = Shape<start=0, end=1>(a)
        s = Concat<axis=0>(n, rest)
        z = ConstantOfShape(s)
        {JOIN}
        """,
        {**JOINED, "rest": np.array([4, 8, 8])}, {"w1": (6, 1), "w2:1": (4, 1), "w2": (8, 1)},
    )  # fmt: skip


@pytest.mark.parametrize("op", ["ConstantOfShape(s)", "Expand(half, s)"])
def test_open_sizes_of_an_image(idiom: Idiom, op: str) -> None:
    idiom(
        f"""
        a = Conv(x, w1)
        p = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(a)
        n = Shape<start=0, end=1>(x)
        hw = Shape<start=2>(x)
        half_hw = Div(hw, two)
        s = Concat<axis=0>(n, six, half_hw)
        z = {op}
        t = Add(p, z)
        c = Concat<axis=1>(t, z)
        b = Conv<pads=[1, 1, 1, 1]>(c, w2)
        r = Relu(b)
        y = Conv(r, w3)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (8, 12, 3, 3), "w3": (5, 8, 1, 1), "two": np.array([2, 2]), "six": np.array([6]),
            "half": np.float32(0.5),
        },
        {"w1": (6, 1), "w2": (8, 1)}, inputs="float[N,3,H,W] x",
    )  # fmt: skip


def test_a_width_that_was_read_off_another_tensor(idiom: Idiom) -> None:
    """The shape holds the width of `a`, beside an open batch; what is filled to it is added to `b`."""
    idiom(
        """
        a = Conv(x, w1)
        b = Conv(x, w2)
        nc = Shape<end=2>(a)
        s = Concat<axis=0>(nc, hw)
        z = ConstantOfShape(s)
        t = Add(b, z)
        ra = Conv(a, w3)
        rt = Conv(t, w4)
        y = Add(ra, rt)
        """,
        {"w1": (6, 3, 1, 1), "w2": (6, 3, 1, 1), "w3": (5, 6, 1, 1), "w4": (5, 6, 1, 1), "hw": np.array([8, 8])},
        {"w1": (6, 1), "w2": (6, 1)},
    )


def test_a_recurrent_state_that_is_carried_on(idiom: Idiom) -> None:
    """Two steps of h = tanh(conv([x, h])), the first h zeros of an open batch."""
    idiom(
        """
        e = Conv(x, w1)
        n = Shape<end=1>(x)
        s = Concat<axis=0>(n, rest)
        h0 = ConstantOfShape(s)
        c0 = Concat<axis=1>(e, h0)
        g0 = Conv<pads=[1, 1, 1, 1]>(c0, w2)
        h1 = Tanh(g0)
        c1 = Concat<axis=1>(e, h1)
        g1 = Conv<pads=[1, 1, 1, 1]>(c1, w2)
        h2 = Tanh(g1)
        y = Conv(h2, w3)
        """,
        {"w1": (4, 3, 1, 1), "w2": (6, 10, 3, 3), "w3": (5, 6, 1, 1), "rest": np.array([6, 8, 8])},
        {"w1": (4, 1), "w2": (6, 1)},
    )


def test_attention_shifted_by_zeros(idiom: Idiom) -> None:
    """Relative positions: scores [N, T, T] are padded, seen as [N, T + 1, T], cut and seen as [N, T, T] again."""
    idiom(
        """
        h = MatMul(x, w1)
        q = Relu(h)
        k = Transpose<perm=[0, 2, 1]>(q)
        s = MatMul(q, k)
        n = Shape<end=1>(x)
        zs = Concat<axis=0>(n, tall)
        z = ConstantOfShape(zs)
        p = Concat<axis=2>(z, s)
        ps = Concat<axis=0>(n, seen)
        v = Reshape(p, ps)
        cut = Slice(v, one, many, one)
        ss = Concat<axis=0>(n, square)
        back = Reshape(cut, ss)
        att = Softmax<axis=-1>(back)
        m = MatMul(att, q)
        y = MatMul(m, w2)
        """,
        {
            "w1": (10, 16), "w2": (16, 5), "tall": np.array([9, 1]), "seen": np.array([-1, 9]), "one": np.array([1]),
            "many": np.array([1 << 40]), "square": np.array([9, 9]),
        },
        {"w1": (16, 1)}, inputs="float[N,9,10] x", unscalable={"w1"},
    )  # fmt: skip


def test_a_fill_is_no_trained_parameter_and_is_not_folded() -> None:
    model = build(ONE, "float y", "z = ConstantOfShape(s)\n a = Conv(x, w1)\n y = Add(a, z)",
                  {"w1": (6, 3, 1, 1), "s": np.array([1, 6, 8, 8])})  # fmt: skip
    found = analyze(model)
    assert found.params == 18
    assert [node.op_type for node in found.model.graph] == ["ConstantOfShape", "Conv", "Add"]
