from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from chanc import ir as chanc_ir
from chanc.analysis import analyze
from chanc.backends import ort
from chanc.testing.oracles import compare


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """same(before, after): equal interfaces and, in onnxruntime, equal outputs up to 1e-4 of the largest value."""

    def check(before: Any, after: Any, *, batch: int = 2, tolerance: float = 1e-4) -> None:
        one, two = chanc_ir.load(before), chanc_ir.load(after)
        names = [[value.name for value in values] for values in (one.graph.outputs, two.graph.outputs)]
        assert names[0] == names[1]
        onnx.checker.check_model(chanc_ir.to_proto(two))
        feeds = ort.fitting_feeds(one, batch=batch)
        want, have = ort.run(one, feeds, exact=True), ort.run(two, feeds, exact=True)
        for found in compare(want, have, [str(name) for name in names[0]]):
            assert found.error <= tolerance, found

    return check


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


@pytest.fixture(scope="session")
def ops() -> Callable[[ir.Model], list[str]]:
    """The operators of a model's main graph, in order."""
    return lambda model: [node.op_type for node in model.graph]


@pytest.fixture
def feeds() -> Callable[..., list[dict[str, np.ndarray]]]:
    """Batches of standard normal images for an input, of different sizes."""

    def make(name: str, *shape: int, batches: tuple[int, ...] = (16, 7), seed: int = 3) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(seed)
        return [{name: rng.standard_normal((n, *shape)).astype(np.float32) * 2 + 1} for n in batches]

    return make
