from __future__ import annotations

import numpy as np
import pytest

from chanc.rewriter import rewrite
from chanc.testing.builders import build


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_weights_are_drawn_anew(plain, weights, scale: float) -> None:
    """He et al. 2015: mean 0, variance 2 / fan-in, in every weight, resized or not."""
    model = plain(128, 160, seed=5)
    done = rewrite(model, scale=scale, transfer="init")
    old, new = weights(model), weights(done.model)
    assert new["w1"].shape[0] == int(128 * scale)
    for name in ("w1", "w2", "w3"):
        values = new[name].astype(np.float64)
        fan_in = values[0].size
        expected = np.sqrt(2 / fan_in)
        # Standard errors of a mean and of a deviation, five of each.
        assert abs(values.mean()) < 5 * expected / np.sqrt(values.size), name
        assert abs(values.std() - expected) < 5 * expected / np.sqrt(2 * values.size), name
        assert np.isin(values, old[name]).mean() < 0.01
        assert new[name].dtype == np.float32
    ones, zeros = ("gamma1", "var1"), ("beta1", "mean1", "b1", "b2", "b3")
    assert all((new[name] == 1).all() for name in ones)
    assert all((new[name] == 0).all() for name in zeros)


def test_the_fan_in_of_a_linear_layer_in_either_order(weights) -> None:
    body = "f = Flatten (x)\na = Gemm <transB = 1> (f, w1)\nr = Relu (a)\nb = Gemm (r, w2)\ny = MatMul (b, w3)"
    shapes = {"w1": (400, 12), "w2": (400, 90), "w3": (90, 300)}
    model = build("float[N,3,2,2] x", "float y", body, shapes)
    new = weights(rewrite(model, transfer="init", scale=1.0).model)
    for name, fan_in in (("w1", 12), ("w2", 400), ("w3", 90)):
        expected = np.sqrt(2 / fan_in)
        assert abs(new[name].std() - expected) < 5 * expected / np.sqrt(2 * new[name].size), name


def test_the_seed_decides(plain, weights) -> None:
    one, again, other = (weights(rewrite(plain(), scale=1.5, transfer="init", seed=s).model)["w1"] for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
