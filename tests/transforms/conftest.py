from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chanc.analysis import analyze


@pytest.fixture(scope="session")
def groups() -> Callable[..., dict[str, Any]]:
    """What is the same of all channel groups before and after norms come or go: sizes, steps, convolutions' axes."""

    def read(model: Any) -> dict[str, Any]:
        return {
            group.id: (
                group.size, group.step, group.resizable,
                sorted((o.initializer, o.axis, o.role, o.indices.tolist()) for o in group.members),
            )
            for group in analyze(model).groups
        }  # fmt: skip

    return read


@pytest.fixture
def feeds() -> Callable[..., list[dict[str, np.ndarray]]]:
    """Batches of standard normal images for an input, of different sizes."""

    def make(name: str, *shape: int, batches: tuple[int, ...] = (16, 7), seed: int = 3) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(seed)
        return [{name: rng.standard_normal((n, *shape)).astype(np.float32) * 2 + 1} for n in batches]

    return make
