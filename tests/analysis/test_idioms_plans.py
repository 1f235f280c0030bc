"""Plans with a width of its own for each group, where one scale for all would hide a fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from chanc.backends import ort
from chanc.oracles import differences, zeroed
from chanc.rewriter import rewrite
from chanc.testing.builders import build

IMAGE = "float[N,3,8,8] x"
ANY_SIZE = "float[N,3,H,W] x"
TOKENS = "float[N,10,6] x"
READ_SIZES = """
    a = Conv(x, w1)
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
    s4 = Concat<axis=0>(nu, cu, hu, wu)
    q = Reshape(u, s4)
    y = Conv(q, w4)
"""
SIZES = {f"i{k}": np.array(k) for k in range(4)} | {"z": np.array([0])}
LINEAR_ATTENTION = """
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
"""


def shrunk(model: Any, plan: Mapping[str, int], tolerance: float = 1e-4) -> None:
    """The shrink oracle on a plan."""
    result = rewrite(model, plan, importance="random", seed=3)
    assert {name: new for name, (_, new) in result.trace.groups.items()} == dict(plan)
    for found in differences(zeroed(model, result.trace), result.model):
        assert found.error <= tolerance


@pytest.mark.parametrize("plan", [{"w1": 5}, {"w2": 4}, {"w1": 2, "w2": 5}, {"w1": 1, "w2": 1}])
def test_a_width_read_off_another_tensor(plan: dict[str, int]) -> None:
    """Both widths are 6 at first, so the exporter's chain reads the one for the other."""
    weights = {"w1": (6, 3, 3, 3), "w2": (6, 6), "w4": (5, 6, 1, 1), **SIZES}
    shrunk(build(ANY_SIZE, "float y", READ_SIZES, weights), plan)


def test_one_head_of_linear_attention_beside_a_wider_layer() -> None:
    weights = {"w1": (6, 3, 1, 1), "w2": (24, 6, 1, 1), "w4": (5, 8, 1, 1)}
    shapes = {"s": np.array([0, 2, 4, 64]), "s4": np.array([0, 8, 8, 8])}
    result = rewrite(build(IMAGE, "float y", LINEAR_ATTENTION, {**weights, **shapes}), {"w1": 11, "w2": 12})
    (y,) = ort.run(result.model, ort.random_feeds(result.model))
    assert y.shape == (2, 5, 8, 8)


def test_one_group_of_query_heads_with_its_bias() -> None:
    body = """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=8, kv_num_heads=4>(q, k, v, m)
        y = MatMul(a, wo)
    """
    weights = {"wq": (6, 32), "wk": (6, 16), "wv": (6, 16), "m": (1, 8, 10, 10), "wo": (32, 5)}
    shrunk(build(TOKENS, "float y", body, weights, opset=23), {"wq": 8})


def test_a_computed_kernel_of_one_channel() -> None:
    body = """
        mu = ReduceMean<axes=[1, 2, 3]>(v)
        d = Sub(v, mu)
        a = Conv(x, w1)
        b = Conv(a, d)
        y = Conv(b, w4)
    """
    weights = {"v": (4, 6, 1, 1), "w1": (6, 3, 1, 1), "w4": (5, 4, 1, 1)}
    shrunk(build(IMAGE, "float y", body, weights), {"v": 1})


def test_a_recurrent_layer_with_put_together_weights_on_one_channel() -> None:
    body = """
        a = Conv(x, w1)
        m = ReduceMean<axes=[2], keepdims=0>(a)
        t = Transpose<perm=[2, 0, 1]>(m)
        wi, wf, wc, wo = Split<axis=0>(wt)
        wr = Concat<axis=0>(wi, wo, wf, wc)
        w = Unsqueeze(wr, z)
        h = LSTM<hidden_size=5>(t, w, r)
        q = Squeeze(h, o)
        y = MatMul(q, w4)
    """
    weights = {"w1": (6, 3, 1, 1), "wt": (20, 6), "r": (1, 20, 5), "w4": (5, 4)}
    shrunk(build(IMAGE, "float y", body, {**weights, "z": np.array([0]), "o": np.array([1])}), {"w1": 1, "wt": 8})


def test_cropped_to_a_size_read_at_run_time() -> None:
    body = """
        a = Conv(x, w1)
        b = ConvTranspose<strides=[2, 2]>(a, wt)
        s = Shape(x)
        hw = Slice(s, two, four)
        c = Slice(b, zero, hw, axes)
        y = Conv(c, w4)
    """
    bounds = {"two": np.array([2]), "four": np.array([4]), "zero": np.array([0, 0]), "axes": np.array([2, 3])}
    model = build(ANY_SIZE, "float y", body, {"w1": (6, 3, 3, 3), "wt": (6, 4, 3, 3), "w4": (5, 4, 1, 1), **bounds})
    shrunk(model, {"w1": 4, "wt": 3})
