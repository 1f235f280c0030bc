"""CONetV2's Algorithm 4 against the textbook: U S V^T cut to rank n', the first n' rows of it."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.rewriter import rewrite
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer._common import KEPT
from chanc.rewriter.transfer.svd import svd
from chanc.testing.builders import build

RNG = np.random.default_rng(0)


def truncated(weight: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Unfold along one axis, [n, everything else], truncate, keep the first rows, fold back."""
    lead = np.moveaxis(weight.astype(np.float64), axis, 0)
    left, values, right = np.linalg.svd(lead.reshape(lead.shape[0], -1), full_matrices=False)
    values[count:] = 0
    rows = ((left * values) @ right)[:count]
    return np.moveaxis(rows.reshape(count, *lead.shape[1:]), 0, axis)


def edit(axis: int, old: int, new: int) -> AxisEdit:
    """The first `new` of `old` channels, one position each."""
    source = np.arange(new)
    return AxisEdit(axis, "producer", source, (Part(np.arange(old)[:, None], source[:, None], source),))


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 16, 1, 1), (6, 40, 3, 3), (12, 12), (30, 4)])
@pytest.mark.parametrize("axis", [0, 1])
def test_one_axis(shape: tuple[int, ...], axis: int) -> None:
    weight = RNG.standard_normal(shape)
    for count in range(1, shape[axis]):
        found = svd(weight, [edit(axis, shape[axis], count)], KEPT, RNG)
        expected = truncated(weight, axis, count)
        assert np.abs(found - expected).max() < 1e-12 * np.abs(weight).max()


def test_both_axes_one_after_the_other() -> None:
    weight = RNG.standard_normal((10, 8, 3, 3))
    found = svd(weight, [edit(0, 10, 4), edit(1, 8, 3)], KEPT, RNG)
    assert np.allclose(found, truncated(truncated(weight, 0, 4), 1, 3), rtol=0, atol=1e-12)


def test_through_a_rewrite(plain, weights) -> None:
    """`w1` out of [8, 27], `w2` in by mode 3 ([8, 6]) and out, `w3` in; vectors keep their first entries."""
    model = plain()
    done = rewrite(model, {"w1": 3, "w2": 4}, transfer="svd")
    old, new = weights(model), weights(done.model)
    expected = {"w1": truncated(old["w1"], 0, 3), "w3": truncated(old["w3"], 1, 4)}
    expected["w2"] = truncated(truncated(old["w2"], 0, 4), 1, 3)
    for name, values in expected.items():
        assert new[name].dtype == np.float32
        assert np.allclose(new[name], values, rtol=0, atol=1e-6), name
    for name in ("b1", "gamma1", "beta1", "mean1", "var1"):
        assert np.array_equal(new[name], old[name][:3])


def test_the_trace_says_that_the_first_stay(plain) -> None:
    done = rewrite(plain(), scale=0.5, transfer="svd", importance="random")
    assert all(s.tolist() == list(range(s.size)) for o in done.trace.operands for s in o.axes.values())


def test_parts_of_a_concat_are_truncated_by_themselves(weights) -> None:
    body = "a = Conv (x, wa)\nb = Conv (x, wb)\nj = Concat <axis = 1> (a, b)\ny = Conv (j, w)"
    shapes = {"wa": (6, 3, 1, 1), "wb": (5, 3, 1, 1), "w": (20, 11, 1, 1)}
    model = build("float[N,3,4,4] x", "float y", body, shapes)
    old, new = weights(model), weights(rewrite(model, {"wa": 2, "wb": 4}, transfer="svd").model)
    expected = np.concatenate([truncated(old["w"][:, :6], 1, 2), truncated(old["w"][:, 6:], 1, 4)], axis=1)
    assert np.allclose(new["w"], expected, rtol=0, atol=1e-6)


def test_growing_reflects(plain, weights) -> None:
    model = plain()
    assert_same = np.testing.assert_array_equal
    svd_grown, reflected = (weights(rewrite(model, {"w1": 11}, transfer=t).model) for t in ("svd", "reflect"))
    for name, values in reflected.items():
        assert_same(svd_grown[name], values)


def test_values_that_are_not_finite_pass_through() -> None:
    weight = RNG.standard_normal((4, 6))
    weight[0, 0] = np.inf
    assert np.array_equal(svd(weight, [edit(0, 4, 2)], KEPT, RNG), weight[:2])


def test_integers_are_rounded_and_stay_in_range() -> None:
    weight = np.array([[127, 127, 127, 127], [127, 127, 127, -128], [-128, 127, -128, 3]], dtype=np.int8)
    found = svd(weight, [edit(0, 3, 2)], KEPT, RNG)
    expected = np.clip(np.rint(truncated(weight, 0, 2)), -128, 127)
    assert np.abs(truncated(weight, 0, 2)).max() > 127.5
    assert found.dtype == np.int8
    assert np.array_equal(found, expected)
