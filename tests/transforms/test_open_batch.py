"""A fixed batch is opened where no sample has a say in another one, and left alone elsewhere."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends import ort
from chanc.ir.normalize import normalize
from chanc.testing.builders import build
from chanc.transforms import open_batch

pytest.importorskip("onnxruntime")

WEIGHTS = {
    "w": (4, 3, 3, 3), "v": (24, 5), "m": (6, 6), "rows": np.array([1, 24]), "more": np.array([1, -1, 24]),
    "pieces": np.array([2, 2, 6]), "back": np.array([1, 24]), "tokens": np.array([1, 4, 6]), "k": (1, 1, 6),
    "minus": np.array([-1]), "outer": np.array([0]), "first": np.array(0),
}  # fmt: skip
CONV = "c = Conv (x, w) r = Relu (c) "
"""[1, 3, 4, 5] -> [1, 4, 2, 3]."""
ALONE = {
    "a classifier": CONV + "f = Reshape (r, rows) y = MatMul (f, v)",
    "-1 elsewhere": CONV + "f = Reshape (r, more) y = MatMul (f, v)",
    "flattened": CONV + "f = Flatten (r) g = Gemm (f, v) y = Softmax (g)",
    "attention": CONV + "t = Reshape (r, tokens) a = MatMul (t, m) b = Transpose <perm = [0, 2, 1]> (a) "
                        "s = MatMul (t, b) p = Softmax (s) o = MatMul (p, t) y = Add (o, k)",
    "windows, which are samples of their own for a while": CONV + "t = Reshape (r, pieces) a = MatMul (t, m) "
                        "n = Transpose <perm = [0, 2, 1]> (a) y = Reshape (n, back)",
    "joined": CONV + "d = MaxPool <kernel_shape = [1, 1]> (c) e = Concat <axis = 1> (r, d) "
                     "y = GlobalAveragePool (e)",
    "a token beside": CONV + "t = Reshape (r, tokens) j = Concat <axis = 1> (k, t) y = MatMul (j, m)",
    "a chain of shapes": CONV + "s = Shape (r) n = Gather (s, outer) to = Concat <axis = 0> (n, minus) "
                         "f = Reshape (r, to) y = MatMul (f, v)",
}  # fmt: skip
TOGETHER = {
    "the samples last": "c = Conv (x, w) y = Transpose <perm = [1, 0, 2, 3]> (c)",
    "a mean of all": CONV + "y = ReduceMean <axes = [0, 1]> (r)",
    "a softmax of all": CONV + "y = Softmax <axis = 0> (r)",
    "no axis of samples": CONV + "y = Squeeze (r, outer)",
    "summed along the samples": CONV + "y = CumSum (r, first)",
}


def network(body: str, batch: int | str = 1, sides: str = "4,5") -> ir.Model:
    words = re.findall(r"\w+", body)
    used = {name: value for name, value in WEIGHTS.items() if name in words}
    model: ir.Model = ir.from_proto(build(f"float[{batch},3,{sides}] x", "float y", body, used))
    normalize(model)
    infer_shapes(model)
    return model


@pytest.mark.parametrize("name", ALONE)
def test_each_sample_stays_what_it_was_alone(name: str) -> None:
    model = network(ALONE[name])
    opened = open_batch(model)
    assert opened is not None
    x = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    alone = np.concatenate([ort.run(model, {"x": x[k : k + 1]})[0] for k in range(3)])
    np.testing.assert_allclose(ort.run(opened, {"x": x})[0], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TOGETHER)
def test_left_alone_where_that_is_not_known(name: str) -> None:
    model = network(TOGETHER[name])
    before = ir.to_proto(model).SerializeToString()
    assert open_batch(model) is None
    assert ir.to_proto(model).SerializeToString() == before


def test_an_open_batch_is_open() -> None:
    assert open_batch(network(ALONE["flattened"], "N")) is None


@pytest.mark.parametrize(("name", "opens"), [("joined", True), ("a classifier", True), ("-1 elsewhere", False)])
def test_open_sides(name: str, opens: bool) -> None:
    """How long a sample is isn't known then: a Reshape that leaves it open as well can't be followed."""
    assert (open_batch(network(ALONE[name], sides="H,W")) is not None) == opens


def test_batches_of_two() -> None:
    model = network("c = Conv (x, w) y = Flatten (c)", 2)
    opened = open_batch(model)
    assert opened is not None
    x = np.random.default_rng(0).standard_normal((4, 3, 4, 5)).astype(np.float32)
    both = np.concatenate([ort.run(model, {"x": x[:2]})[0], ort.run(model, {"x": x[2:]})[0]])
    np.testing.assert_allclose(ort.run(opened, {"x": x})[0], both, rtol=1e-5, atol=1e-6)
