from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.errors import PlanError
from chanc.rewriter import rewrite
from chanc.rewriter.choose import choose
from chanc.rewriter.importance import IMPORTANCES, Evidence
from chanc.testing.builders import build

SCORES = np.array([3.0, -1.0, 0.5, 2.0, 1.0, 4.0], dtype=np.float32)


def scored(scores: np.ndarray):
    """A convolution whose channel k has every weight at scores[k]."""
    w1 = np.broadcast_to(scores[:, None, None, None], (scores.size, 3, 1, 1)).copy()
    w2 = np.ones((2, scores.size, 1, 1), np.float32)
    return build("float[N,3,4,4] x", "float y", "a = Conv (x, w1)\ny = Conv (a, w2)", {"w1": w1, "w2": w2})


def kept(model, width: int, select, seed: int = 0) -> list[int]:
    done = rewrite(model, {"w1": width}, importance=select, seed=seed)
    return next(o.axes[0] for o in done.trace.operands if o.initializer == "w1").tolist()


@pytest.mark.parametrize("select", ["l1", "l2"])
def test_the_largest_stay_in_their_order(select: str) -> None:
    model = scored(SCORES)
    ranked = np.argsort(-np.abs(SCORES), kind="stable")
    for width in range(1, 6):
        assert kept(model, width, select) == sorted(ranked[:width].tolist())


def test_ties_go_to_the_first() -> None:
    assert kept(scored(np.ones(6, np.float32)), 4, "l2") == [0, 1, 2, 3]


def test_l1_and_l2_differ_where_they_should() -> None:
    """[3, 0] against [2, 2]: the sum prefers the second, the root of squares the first."""
    w1 = np.array([[3, 0], [2, 2]], dtype=np.float32)[:, :, None, None]
    body = "a = Conv (x, w1)\ny = Conv (a, w2)"
    model = build("float[N,2,4,4] x", "float y", body, {"w1": w1, "w2": (3, 2, 1, 1)})
    assert kept(model, 1, "l1") == [1]
    assert kept(model, 1, "l2") == [0]


def test_first() -> None:
    assert kept(scored(SCORES), 4, "first") == [0, 1, 2, 3]


def test_random_is_seeded() -> None:
    model = scored(np.ones(40, np.float32))
    drawn = [tuple(kept(model, 20, "random", seed)) for seed in range(6)]
    assert drawn == [tuple(kept(model, 20, "random", seed)) for seed in range(6)]
    assert len(set(drawn)) == 6
    assert all(len(set(d)) == 20 and list(d) == sorted(d) for d in drawn)
    counts = np.bincount(np.concatenate([kept(model, 20, "random", seed) for seed in range(60)]), minlength=40)
    assert (counts > 10).all()
    assert (counts < 50).all()


def test_importance_sums_over_all_producers() -> None:
    body = "a = Conv (x, wa)\nb = Conv (x, wb)\ns = Add (a, b)\ny = Conv (s, w)"
    model = build("float[N,3,4,4] x", "float y", body, {"wa": (5, 3, 1, 1), "wb": (5, 3, 1, 1), "w": (2, 5, 1, 1)})
    analysis = analyze(model)
    group = analysis.group("wa")
    tensors = (analysis.model.graph.initializers[name].const_value for name in ("wa", "wb"))
    arrays = [tensor.numpy().astype(np.float64) for tensor in tensors]
    evidence = Evidence(analysis.model, np.random.default_rng(0))
    for order in (1, 2):
        expected = sum((np.abs(array) ** order).sum(axis=(1, 2, 3)) for array in arrays)
        assert np.allclose(IMPORTANCES[f"l{order}"](group, evidence), expected, rtol=1e-6)


def test_importance_of_whole_units(grouped) -> None:
    analysis = analyze(grouped)
    group = analysis.group("w1")
    weight = analysis.model.graph.initializers["w1"].const_value.numpy().astype(np.float64)
    rows = np.abs(weight).sum(axis=(1, 2, 3))
    evidence, l1 = Evidence(analysis.model, np.random.default_rng(0)), IMPORTANCES["l1"]
    assert np.allclose(l1(group, evidence), [rows[0::2].sum(), rows[1::2].sum()], rtol=1e-6)
    assert choose(group, 1, l1, evidence).tolist() == [int(rows[1::2].sum() > rows[0::2].sum())]


def test_growth_repeats_the_most_important_first() -> None:
    """8 of 6: the two largest are there twice; 13 of 6: all twice, the largest three times."""
    assert kept(scored(SCORES), 8, "l2") == [0, 0, 1, 2, 3, 4, 5, 5]
    assert kept(scored(SCORES), 13, "l2") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]


def test_a_callable_is_an_importance() -> None:
    """A function of the group and the evidence stands for a name; one that gives no number a unit is refused."""
    chosen = np.array([0.0, 5, 1, 5, 2, 0])
    assert kept(scored(SCORES), 3, lambda group, evidence: chosen) == [1, 3, 4]
    for wrong in (np.ones(5), np.full(6, np.nan)):
        with pytest.raises(PlanError, match="group 'w1': its importance must be 6 numbers, one a unit"):
            kept(scored(SCORES), 3, lambda group, evidence, wrong=wrong: wrong)
