"""Net2WiderNet: the function stays, to the last bits of float64, in onnx's reference implementation."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from chanc.rewriter import TRANSFERS, rewrite
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer import _common, take
from chanc.rewriter.transfer._common import KEPT
from chanc.rewriter.transfer.widen import EVEN
from chanc.testing.builders import build

RNG = np.random.default_rng(1)


def positive(shape) -> np.ndarray:
    return RNG.uniform(0.5, 1.5, shape)


def normal(shape) -> np.ndarray:
    return RNG.standard_normal(shape)


PLAIN = """
a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
n = BatchNormalization (a, gamma, beta, mean, var)
r = Relu (n)
c = Conv (r, w2, b2)
s = Sigmoid (c)
p = GlobalAveragePool (s)
f = Flatten (p)
y = Gemm <transB = 1> (f, w3, b3)
"""
PLAIN_WEIGHTS = {
    "w1": normal((4, 3, 3, 3)), "b1": normal(4), "gamma": positive(4), "beta": normal(4), "mean": normal(4),
    "var": positive(4), "w2": normal((5, 4, 1, 1)), "b2": normal(5), "w3": normal((2, 5)), "b3": normal(2),
}  # fmt: skip

RESIDUAL = """
a = Conv (x, w1)
b = Conv (a, w2)
s = Add (a, b)
j = Concat <axis = 1> (s, b, a)
d = Conv <group = 12> (j, w3)
c = Conv (d, w4)
p = ReduceMean <axes = [2, 3], keepdims = 0> (c)
y = MatMul (p, w5)
"""
RESIDUAL_WEIGHTS = {
    "w1": normal((4, 3, 1, 1)), "w2": normal((4, 4, 1, 1)), "w3": normal((12, 1, 3, 3)), "w4": normal((3, 12, 1, 1)),
    "w5": normal((3, 2)),
}  # fmt: skip

TRANSPOSED = """
a = ConvTranspose (x, w1, b1)
r = Tanh (a)
c = ConvTranspose (r, w2)
f = Flatten (c)
y = Gemm (f, w3)
"""
TRANSPOSED_WEIGHTS = {"w1": normal((3, 4, 2, 2)), "b1": normal(4), "w2": normal((4, 2, 1, 1)), "w3": normal((50, 3))}


@pytest.mark.parametrize(
    ("body", "shapes"),
    [(PLAIN, PLAIN_WEIGHTS), (RESIDUAL, RESIDUAL_WEIGHTS), (TRANSPOSED, TRANSPOSED_WEIGHTS)],
    ids=["plain", "residual", "transposed"],
)
@pytest.mark.parametrize("scale", [1.25, 1.5, 2.0, 3.5])
def test_exact_in_float64(evaluate, body: str, shapes, scale: float) -> None:
    model = build("double[N,3,4,4] x", "double y", body, shapes)
    done = rewrite(model, scale=scale, transfer="widen")
    assert done.changed
    assert done.trace.exact
    (expected,), (found,) = evaluate(model), evaluate(done.model)
    assert found.dtype == np.float64
    assert np.abs(found - expected).max() < 1e-13 * np.abs(expected).max()


def test_producers_are_cloned_and_consumers_divided(plain, weights) -> None:
    model = plain()
    done = rewrite(model, {"w1": 12}, transfer="widen", importance="first")
    old, new = weights(model), weights(done.model)
    source = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7])
    assert np.array_equal(new["w1"], old["w1"][source])
    assert np.array_equal(new["var1"], old["var1"][source])
    share = np.array([3 / 8, 5 / 8] * 4 + [1] * 4, dtype=np.float32)
    assert np.allclose(new["w2"], old["w2"][:, source] * share[:, None, None], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("transfer", ["widen", "select"])
def test_copies_add_up_to_the_weight_to_the_last_bit(dtype, transfer: str) -> None:
    """A digit that is lost here would be a thousand behind many ill-conditioned layers."""
    source = np.repeat(np.arange(4), [1, 2, 3, 5])
    part = Part(np.arange(4)[:, None], np.arange(11)[:, None], source)
    edit = AxisEdit(1, "consumer", source, (part,))
    weight = RNG.standard_normal((50, 4)).astype(dtype)
    new = TRANSFERS[transfer].apply(weight, [edit], KEPT, RNG)
    assert new.dtype == weight.dtype
    total = np.zeros((50, 4))
    np.add.at(total, (slice(None), source), new.astype(np.float64))
    assert np.array_equal(total, weight.astype(np.float64))


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_no_two_copies_have_the_same_share(plain, weights, copies: int) -> None:
    model = plain()
    old, new = weights(model)["w2"], weights(rewrite(model, {"w1": 8 * copies}, transfer="widen").model)["w2"]
    shares = (new.reshape(6, 8, copies) / old.reshape(6, 8, 1))[0, 0]
    assert np.allclose(shares, (np.arange(copies) + (copies + 1) / 2) / copies**2)
    assert shares.sum() == pytest.approx(1)
    assert np.diff(np.sort(shares)).min() > 0.9 / copies**2


def test_the_form_for_judges_is_even(plain, weights) -> None:
    """Halves lose no digit: what a network that is doubled so computes is the same to the last bits."""
    model = plain()
    old, new = weights(model)["w2"], weights(rewrite(model, {"w1": 16}, transfer=EVEN).model)["w2"]
    assert np.array_equal(new, np.repeat(old, 2, axis=1) / 2)


@pytest.mark.parametrize("axis", [0, 1])
def test_halves_and_quarters_are_those_of_the_weight(axis: int) -> None:
    source = np.array([0, 0, 1, 2, 2, 2, 2])
    part = Part(np.arange(3)[:, None], np.arange(7)[:, None], source)
    tensor = normal((3, 3, 2)).astype(np.float32)
    share = np.array([1 / 2, 1 / 2, 1, 1 / 4, 1 / 4, 1 / 4, 1 / 4], np.float32).reshape(-1, *[1] * (2 - axis))
    found = EVEN.apply(tensor, [AxisEdit(axis, "consumer", source, (part,))], KEPT, RNG)
    np.testing.assert_array_equal(found, np.take(tensor, source, axis=axis) * share)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 2), (2, 1)])
def test_blocks_of_rows_hold_what_the_whole_does(axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensor begins at an odd byte, as those of a file do."""
    values = normal((6, 5, 4)).astype(np.float32)
    tensor = np.frombuffer(b"?" + values.tobytes(), np.float32, offset=1).reshape(values.shape)
    edits = [AxisEdit(axis, "producer", np.array([0, 2, 2, 3]), ()) for axis in axes]
    expected = values
    for edit in edits:
        expected = np.take(expected, edit.source, axis=edit.axis)
    np.testing.assert_array_equal(take(tensor, edits), expected)
    monkeypatch.setattr(_common, "BLOCK", 3 * 5 * 4 * 4)
    np.testing.assert_array_equal(take(tensor, edits), expected)


@pytest.mark.parametrize("name", ["grow", "select", "widen", "init"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
def test_slices_of_a_tensor_make_what_the_whole_does(
    name: str, dtype: type[np.generic], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = np.array([0, 0, 1, 2, 2, 2])
    part = Part(np.arange(3)[:, None], np.arange(6)[:, None], source, divisible=dtype != np.int8)
    edits = [AxisEdit(0, "producer", source, (part,)), AxisEdit(1, "consumer", source, (part,))]
    tensor, use = (100 * normal((3, 3, 2))).astype(dtype), KEPT._replace(fill="weight")
    found = []
    for size in (1 << 18, 5, 30):
        monkeypatch.setattr("chanc.rewriter.transfer._common.SLICE", size)
        monkeypatch.setattr("chanc.rewriter.transfer.grow.SLICE", size)
        monkeypatch.setattr("chanc.rewriter.transfer._common.BLOCK", size)
        found.append(TRANSFERS[name].apply(tensor, edits, use, np.random.default_rng(3)))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
