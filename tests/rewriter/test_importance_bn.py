from __future__ import annotations

import numpy as np

from chanc.analysis import analyze
from chanc.rewriter import IMPORTANCES, rewrite
from chanc.rewriter.importance import Evidence
from chanc.testing.builders import build


def scores(model, group: str) -> np.ndarray:
    analysis = analyze(model)
    return IMPORTANCES["bn"](analysis.group(group), Evidence(analysis.model, np.random.default_rng(0)))


def test_the_scales_magnitudes_decide(plain, weights) -> None:
    model = plain()
    gamma = np.abs(weights(model)["gamma1"]).astype(np.float64)
    assert np.allclose(scores(model, "w1"), gamma)
    source = next(o.axes[0] for o in rewrite(model, {"w1": 3}, importance="bn").trace.operands if o.initializer == "w1")
    assert source.tolist() == np.sort(np.argsort(-gamma)[:3]).tolist()


def test_variances_and_shifts_dont_count(weights, plain) -> None:
    """The variance begins at 1 as a scale does; it is measured, not trained."""
    one, two = plain(seed=0), plain(seed=0)
    for tensor in two.graph.initializer:
        if tensor.name in ("beta1", "mean1", "var1", "w1"):
            tensor.raw_data = (100 * weights(two)[tensor.name]).tobytes()
    assert np.array_equal(scores(one, "w1"), scores(two, "w1"))


def test_all_norms_of_coupled_members_count_together(weights) -> None:
    body = """
    a = Conv (x, wa)
    na = BatchNormalization (a, ga, ba, ma, va)
    b = Conv (x, wb)
    nb = InstanceNormalization (b, gb, bb)
    s = Add (na, nb)
    y = Conv (s, w)
    """
    shapes = {"wa": (5, 3, 1, 1), "wb": (5, 3, 1, 1), "w": (2, 5, 1, 1)}
    shapes |= dict.fromkeys(("ga", "ba", "ma", "va", "gb", "bb"), (5,))
    model = build("float[N,3,4,4] x", "float y", body, shapes)
    expected = np.abs(weights(model)["ga"]) + np.abs(weights(model)["gb"])
    assert np.allclose(scores(model, "wa"), expected)


def test_without_a_norm_the_weights_decide(plain) -> None:
    analysis = analyze(plain())
    evidence = Evidence(analysis.model, np.random.default_rng(0))
    assert np.array_equal(scores(plain(), "w2"), IMPORTANCES["l2"](analysis.group("w2"), evidence))
