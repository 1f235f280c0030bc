from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.rewriter import IMPORTANCES, rewrite
from chanc.rewriter.importance import Evidence
from chanc.testing.builders import build


def scores(model, group: str) -> np.ndarray:
    analysis = analyze(model)
    evidence = Evidence(analysis.model, np.random.default_rng(0))
    return IMPORTANCES["geometric-median"](analysis.group(group), evidence)


def test_distances_of_all_that_makes_a_unit(plain, weights) -> None:
    """Rows, bias, scale and shift of the norm; not its statistics."""
    model = plain()
    old = weights(model)
    vectors = np.concatenate([old["w1"].reshape(8, -1), *(old[n][:, None] for n in ("b1", "gamma1", "beta1"))], axis=1)
    expected = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=2).sum(1)
    assert np.allclose(scores(model, "w1"), expected, rtol=1e-6)


def test_who_stands_in_the_middle_goes_first(weights) -> None:
    """A large filter that others can stand in for is worth less than a small one that is unlike them all."""
    w1 = np.array([[4, 0], [4.1, 0], [3.9, 0], [0, 1], [4, 0.1]], dtype=np.float32)[:, :, None, None]
    model = build("float[N,2,4,4] x", "float y", "a = Conv (x, w1)\ny = Conv (a, w2)", {"w1": w1, "w2": (3, 5, 1, 1)})

    def kept(importance: str) -> list[int]:
        trace = rewrite(model, {"w1": 2}, importance=importance).trace
        return next(o.axes[0] for o in trace.operands if o.initializer == "w1").tolist()

    assert 3 in kept("geometric-median")
    assert 3 not in kept("l2")


def test_members_count_together() -> None:
    body = "a = Conv (x, wa)\nb = Conv (x, wb)\ns = Add (a, b)\ny = Conv (s, w)"
    rng = np.random.default_rng(0)
    wa, wb = (rng.standard_normal((5, 3, 1, 1)).astype(np.float32) for _ in range(2))
    model = build("float[N,3,4,4] x", "float y", body, {"wa": wa, "wb": wb, "w": (2, 5, 1, 1)})
    vectors = np.concatenate([wa.reshape(5, -1), wb.reshape(5, -1)], axis=1).astype(np.float64)
    expected = np.linalg.norm(vectors[:, None] - vectors[None], axis=2).sum(1)
    assert np.allclose(scores(model, "wa"), expected, rtol=1e-6)


def test_twins_are_no_distance_apart() -> None:
    """Large numbers cancel to 0 and not to the root of what rounding leaves."""
    w1 = np.full((3, 2, 1, 1), 1000.0, np.float32)
    model = build("float[N,2,4,4] x", "float y", "a = Conv (x, w1)\ny = Conv (a, w2)", {"w1": w1, "w2": (3, 3, 1, 1)})
    assert scores(model, "w1") == pytest.approx(np.zeros(3), abs=1e-6)


def test_whole_units(grouped) -> None:
    assert scores(grouped, "w1").shape == (2,)
