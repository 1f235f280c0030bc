from __future__ import annotations

import numpy as np
import pytest

from chanc.rewriter import rewrite
from chanc.rewriter.transfer.reflect import reflected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (4, 6, [0, 1, 2, 3, 3, 2]),
        (4, 8, [0, 1, 2, 3, 3, 2, 1, 0]),
        (4, 11, [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2]),
        (3, 14, [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]),
        (1, 4, [0, 0, 0, 0]),
        (4, 4, [0, 1, 2, 3]),
        (4, 2, [0, 1]),
    ],
)
def test_reflection(old: int, new: int, expected: list[int]) -> None:
    assert reflected(old, new).tolist() == expected


@pytest.mark.parametrize("width", [3, 11, 16, 21])
def test_through_a_rewrite(plain, weights, width: int) -> None:
    model = plain()
    done = rewrite(model, {"w1": width}, transfer="reflect")
    old, new = weights(model), weights(done.model)
    source = reflected(8, width)
    assert np.array_equal(new["w1"], old["w1"][source])
    assert np.array_equal(new["w2"], old["w2"][:, source])
    for name in ("b1", "gamma1", "beta1", "mean1", "var1"):
        assert np.array_equal(new[name], old[name][source])
    assert all(o.axes.popitem()[1].tolist() == source.tolist() for o in done.trace.operands)


def test_in_steps_whole_units_are_reflected(grouped, weights) -> None:
    """`w1` is [unit 0, unit 1] in each of the four groups of the second convolution; a third unit reflects the last."""
    old = weights(grouped)
    new = weights(rewrite(grouped, {"w1": 12}, transfer="reflect").model)
    source = [2 * g + unit for g in range(4) for unit in (0, 1, 1)]
    assert np.array_equal(new["w1"], old["w1"][source])
    assert np.array_equal(new["w2"], old["w2"][:, [0, 1, 1]])
