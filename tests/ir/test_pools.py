"""Pools over all axes of a tensor become pools over those that are pooled."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.ir import load
from chanc.ir.normalize import is_normal, normalize
from chanc.oracles import check_shrink, check_widen
from chanc.testing.builders import build

ONES = np.array([0, 1])
CASES = {
    "MaxPool<kernel_shape=[1, 2, 2, 1], strides=[1, 2, 2, 1]>": "MaxPool<kernel_shape=[2, 2], strides=[2, 2]>",
    "AveragePool<kernel_shape=[1, 3, 3, 1], strides=[1, 2, 2, 1], pads=[0, 1, 1, 0, 0, 1, 1, 0]>":
        "AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]>",
    'MaxPool<kernel_shape=[1, 3, 2, 1], strides=[1, 2, 2, 1], auto_pad="SAME_UPPER">':
        'MaxPool<kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER">',
    "MaxPool<kernel_shape=[1, 1, 2, 1], strides=[1, 1, 2, 1]>": "MaxPool<kernel_shape=[1, 2], strides=[1, 2]>",
}  # fmt: skip
BODY = """
    a = Conv<pads=[1, 1, 1, 1]>(x, w)
    t = Transpose<perm=[0, 2, 3, 1]>(a)
    u = Unsqueeze(t, ax)
    p = {pool}(u)
    s = Squeeze(p, ax)
    b = Transpose<perm=[0, 3, 1, 2]>(s)
    y = Conv(b, v)
"""


@pytest.mark.parametrize("pool", CASES)
def test_it_computes_what_the_plain_pool_does(pool: str) -> None:
    weights = {"w": (6, 3, 3, 3), "v": (4, 6, 1, 1)}
    model = build("float[2,3,8,8] x", "float y", BODY.format(pool=pool), {**weights, "ax": ONES})
    direct = f"a = Conv<pads=[1, 1, 1, 1]>(x, w)\nb = {CASES[pool]}(a)\ny = Conv(b, v)"
    plain = build("float[2,3,8,8] x", "float y", direct, weights)
    narrow = load(model)
    assert not is_normal(narrow)
    assert normalize(narrow)
    assert is_normal(narrow)
    feeds = ort.random_feeds(plain)
    np.testing.assert_allclose(ort.run(narrow, feeds)[0], ort.run(plain, feeds)[0], atol=1e-6)
    assert [node.outputs[0].name for node in narrow.graph if node.outputs[0].name in "tsb"] == ["t", "s", "b"]
    assert {g.id for g in analyze(model).groups if g.resizable} == {"w"}
    assert check_shrink(model).operands
    assert check_widen(model).operands


def test_volumes_and_axes_as_an_attribute() -> None:
    body = """
        a = Conv(x, w)
        t = Transpose<perm=[0, 2, 3, 4, 1]>(a)
        u = Unsqueeze<axes=[0, 1]>(t)
        p = MaxPool<kernel_shape=[1, 2, 2, 2, 1], strides=[1, 2, 2, 2, 1]>(u)
        s = Squeeze<axes=[0, 1]>(p)
        b = Transpose<perm=[0, 4, 1, 2, 3]>(s)
        y = Conv(b, v)
    """
    model = build("float[2,3,4,4,4] x", "float y", body, {"w": (6, 3, 1, 1, 1), "v": (4, 6, 1, 1, 1)}, opset=12)
    assert {g.id for g in analyze(model).groups if g.resizable} == {"w"}
    assert check_shrink(model).operands
    assert check_widen(model).operands


def test_pools_that_runtimes_take_stay_as_they_are() -> None:
    body = BODY.format(pool="MaxPool<kernel_shape=[2, 2, 1], strides=[2, 2, 1]>")
    model = build("float[2,3,8,8] x", "float y", body, {"w": (6, 3, 3, 3), "v": (4, 6, 1, 1), "ax": np.array([1])})
    assert is_normal(load(model))
    assert {g.id for g in analyze(model).groups if g.resizable} == {"w"}
    assert check_shrink(model).operands
    assert check_widen(model).operands


def test_a_pool_that_ends_in_a_graph_output_keeps_its_name() -> None:
    body = BODY.format(pool=next(iter(CASES))).replace("b = Transpose<perm=[0, 3, 1, 2]>(s)\n    y = Conv(b, v)", "")
    model = load(build("float[2,3,8,8] x", "float s", body, {"w": (6, 3, 3, 3), "ax": ONES}))
    normalize(model)
    assert [value.name for value in model.graph.outputs] == ["s"]
    assert ort.run(model, ort.random_feeds(model))[0].shape == (2, 4, 4, 6)


