"""Habits of exporters: norms as E[x^2] - E[x]^2, slices of everything, channel shuffles at every width."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chanc.analysis import Analysis
from chanc.oracles import check_shrink, check_widen

Idiom = Callable[..., Analysis]
CASES = Path(os.environ.get("CHANC_SHARED", "")) / "cases"


def test_layer_norm_by_second_moments(idiom: Idiom) -> None:
    """As jax2onnx writes it: channels last, the variance held from below."""
    found = idiom(
        """
        a = MatMul(x, w1)
        m = ReduceMean<axes=[-1]>(a)
        s = Mul(a, a)
        e = ReduceMean<axes=[-1]>(s)
        mm = Mul(m, m)
        v0 = Sub(e, mm)
        v = Max(v0, zero)
        ve = Add(v, eps)
        q = Sqrt(ve)
        i = Reciprocal(q)
        g = Mul(i, gain)
        d = Sub(a, m)
        n = Mul(d, g)
        b = Add(n, shift)
        y = MatMul(b, w2)
        """,
        {
            "w1": (6, 12), "gain": (12,), "shift": (12,), "w2": (12, 5), "eps": np.float32(1e-6),
            "zero": np.float32(0),
        },
        {"w1": (12, 1)},
        inputs="float[N,7,6] x",
        inexact={"w1"},
    )  # fmt: skip
    assert "w1" in found.by_id


def test_group_norm_by_second_moments(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        t = Transpose<perm=[0, 2, 3, 1]>(a)
        r = Reshape(t, split)
        m = ReduceMean<axes=[1, 2, 4], keepdims=1>(r)
        s = Mul(r, r)
        e = ReduceMean<axes=[1, 2, 4], keepdims=1>(s)
        mm = Mul(m, m)
        v = Sub(e, mm)
        ve = Add(v, eps)
        q = Sqrt(ve)
        d = Sub(r, m)
        n = Div(d, q)
        f = Reshape(n, back)
        g = Mul(f, gain)
        z = Transpose<perm=[0, 3, 1, 2]>(g)
        y = Conv(z, w2)
        """,
        {
            "w1": (8, 3, 1, 1), "w2": (5, 8, 1, 1), "gain": (8,), "eps": np.float32(1e-3),
            "split": np.array([0, 8, 8, 4, 2]), "back": np.array([0, 8, 8, 8]),
        },
        {"w1": (8, 2)},
    )


@pytest.mark.parametrize("end", [8, 1 << 31, (1 << 63) - 1])
def test_slices_of_everything(idiom: Idiom, end: int) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Slice(a, from, to, axis)
        t = Slice(s, from, far, high)
        y = Conv(t, w2)
        """,
        {
            "w1": (8, 3, 1, 1), "w2": (5, 8, 1, 1), "from": np.array([0]), "to": np.array([end]),
            "far": np.array([(1 << 63) - 1]), "axis": np.array([1]), "high": np.array([2]),
        },
        {"w1": (8, 1)},
    )


SHUFFLES = {
    "reshapes": """
        r = Reshape(c, split)
        t = Transpose<perm=[0, 2, 1, 3, 4]>(r)
        s = Reshape(t, back)
        l, h = Split<axis=1>(s, half)
    """,
    "a gather": """
        s = Gather<axis=1>(c, order)
        l, h = Split<axis=1>(s, half)
    """,
}


@pytest.mark.parametrize("form", SHUFFLES)
def test_two_shuffled_units_at_every_width(idiom: Idiom, form: str) -> None:
    body = """
        a = Conv(x, w0)
        p, q = Split<axis=1>(a, half)
        b = Conv(q, w1)
        b2 = Relu(b)
        c = Concat<axis=1>(p, b2)
    """ + SHUFFLES[form] + """
        d = Conv(h, w2)
        d2 = Relu(d)
        e = Concat<axis=1>(l, d2)
        y = Conv(e, w3)
    """
    weights = {
        "w0": (12, 3, 1, 1), "w1": (6, 6, 1, 1), "w2": (6, 6, 1, 1), "w3": (5, 12, 1, 1), "half": np.array([6, 6]),
        "split": np.array([0, 2, 6, 8, 8]), "back": np.array([0, 12, 8, 8]),
        "order": np.arange(12).reshape(2, 6).T.ravel(),
    }  # fmt: skip
    from chanc.testing.builders import build

    unused = {"a gather": ("split", "back"), "reshapes": ("order",)}[form]
    model = build("float[N,3,8,8] x", "float y", body, {k: v for k, v in weights.items() if k not in unused})
    for scale in (0.25, 0.5, 0.75):
        check_shrink(model, scale=scale)
    for scale in (1.25, 1.5, 1.75, 2.0, 3.0):
        assert check_widen(model, scale=scale).operands


@pytest.mark.shared
@pytest.mark.skipif(not (CASES / "shufflenet_grow.onnx").is_file(), reason="no shared cases")
@pytest.mark.parametrize("scale", [1.25, pytest.param(2.0, marks=pytest.mark.nightly)])
def test_a_shufflenet_of_paddle(scale: float) -> None:
    assert check_widen(CASES / "shufflenet_grow.onnx", scale=scale).operands
