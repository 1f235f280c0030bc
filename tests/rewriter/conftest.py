from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper as nh
import pytest
from onnx.reference import ReferenceEvaluator

from chanc.analysis import analyze
from chanc.rewriter import IMPORTANCES
from chanc.rewriter.importance import Evidence, Gathered, Moments
from chanc.testing.builders import build

PLAIN = """
a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
n = BatchNormalization (a, gamma1, beta1, mean1, var1)
r = Relu (n)
c = Conv (r, w2, b2)
s = Relu (c)
p = GlobalAveragePool (s)
f = Flatten (p)
y = Gemm <transB = 1> (f, w3, b3)
"""


@pytest.fixture(scope="session")
def plain() -> Callable[..., onnx.ModelProto]:
    """Conv(3, wide) - BatchNormalization - Relu - Conv(wide, deep) - pooling - Gemm(deep, 4): groups `w1` and `w2`."""

    def make(wide: int = 8, deep: int = 6, seed: int = 0) -> onnx.ModelProto:
        norm = dict.fromkeys(("gamma1", "beta1", "mean1", "var1"), (wide,))
        shapes = {"w1": (wide, 3, 3, 3), "b1": (wide,), **norm, "w2": (deep, wide, 1, 1), "b2": (deep,)}
        shapes |= {"w3": (4, deep), "b3": (4,)}
        return build("float[N,3,8,8] x", "float y", PLAIN, shapes, seed=seed)

    return make


@pytest.fixture(scope="session")
def grouped() -> onnx.ModelProto:
    """Conv(3, 8) - Conv(8, 12, group 4) - Gemm(12, 4): `w1` and `w2` change in steps of 4."""
    body = """
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    c = Conv <group = 4> (r, w2)
    p = GlobalAveragePool (c)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w3)
    """
    return build("float[N,3,8,8] x", "float y", body, {"w1": (8, 3, 3, 3), "w2": (12, 2, 1, 1), "w3": (4, 12)})


@pytest.fixture(scope="session")
def weights() -> Callable[[onnx.ModelProto], dict[str, np.ndarray]]:
    """The initializers of a model by name."""
    return lambda model: {tensor.name: nh.to_array(tensor) for tensor in model.graph.initializer}


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., list[np.ndarray]]:
    """Outputs on random inputs by onnx's reference implementation, in the type of the inputs."""

    def run(model: onnx.ModelProto, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        feeds = {}
        for value in model.graph.input:
            kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            shape = [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
            feeds[value.name] = rng.standard_normal(shape).astype(kind)
        return ReferenceEvaluator(model).run(None, feeds)

    return run


@pytest.fixture(scope="session")
def judged() -> Callable[..., np.ndarray]:
    """Scores of a group by an importance, of evidence if there is any."""

    def run(model: onnx.ModelProto, importance: str, group: str, gathered: Gathered | None = None) -> np.ndarray:
        analysis = analyze(model)
        evidence = Evidence(analysis.model, np.random.default_rng(0), gathered)
        return IMPORTANCES[importance](analysis.group(group), evidence)

    return run


@pytest.fixture(scope="session")
def moments() -> Callable[[np.ndarray], Moments]:
    """The moments of s: [batches, units]."""
    return lambda s: Moments(np.abs(s).sum(0), s.sum(0), (s**2).sum(0))
