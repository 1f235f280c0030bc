from __future__ import annotations

import numpy as np
import pytest

from chanc.study.methods.surface import surface


def test_two_values() -> None:
    """Midway and far away the mean is expected; far away nothing is known."""
    found = surface(np.array([[0.0], [1.0]]), np.array([1.0, 3.0]))
    left, middle, right, far = found.expected(np.array([[0.0], [0.5], [1.0], [50.0]]))
    assert 1.0 <= left < middle < right <= 3.0
    assert (middle, far) == pytest.approx((2.0, 2.0))
    near, away = found.spread(np.array([[0.5], [50.0]]))
    assert near < away == pytest.approx(found.scale)


def test_a_smooth_function_is_found_between_its_values() -> None:
    points = np.linspace(-1, 1, 9)[:, None]
    found = surface(points, 5 + points[:, 0] ** 2)
    between = np.array([[-0.6], [0.1], [0.85]])
    assert found.expected(between) == pytest.approx(5 + between[:, 0] ** 2, abs=0.02)
    assert (found.spread(between) < 0.05).all()


def test_noise_is_not_believed() -> None:
    """Values that have nothing to do with their places: all that is expected of any is their mean."""
    random = np.random.default_rng(0)
    points, values = random.uniform(-1, 1, (40, 3)), random.normal(7.0, 1.0, 40)
    expected = surface(points, values).expected(points)
    assert np.abs(expected - 7.0).max() < 0.6 * np.abs(values - 7.0).max()
