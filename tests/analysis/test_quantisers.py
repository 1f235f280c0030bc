"""What onnxruntime's own quantiser writes of a network: all widths change, integers and scales follow exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import quantization as q

from chanc.analysis import analyze
from chanc.ir.initializers import constant_shape
from chanc.oracles import check_shrink, check_widen
from chanc.testing.builders import build

NETWORK = """
a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
r = Relu (a)
d = Conv <pads = [1, 1, 1, 1], group = 8> (r, w2, b2)
e = Conv (d, w3, b3)
s = Add (e, r)
m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
l = Concat <axis = 1> (m, m)
c = Conv (l, w4, b4)
t = Relu (c)
p = GlobalAveragePool (t)
f = Flatten (p)
h = Gemm <transB = 1> (f, w5, b5)
u = Relu (h)
y = MatMul (u, w6)
"""
SHAPES = {
    "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (8, 8, 1, 1), "b3": (8,),
    "w4": (12, 16, 1, 1), "b4": (12,), "w5": (10, 12), "b5": (10,), "w6": (10, 4),
}  # fmt: skip


class Reader(q.CalibrationDataReader):
    """Some random images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        images = rng.standard_normal((4, 2, 3, 8, 8)).astype(np.float32)
        self.batches: Iterator[Any] = iter([{"x": batch} for batch in images])

    def get_next(self) -> Any:
        return next(self.batches, None)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "float.onnx"
    onnx.save(build("float[N,3,8,8] x", "float y", NETWORK, SHAPES), path)
    return path


UNSIGNED = {"weight_type": q.QuantType.QUInt8, "activation_type": q.QuantType.QUInt8}
STATIC = {
    "qdq": {"quant_format": q.QuantFormat.QDQ},
    "qdq-by-channel": {"quant_format": q.QuantFormat.QDQ, "per_channel": True},
    "qdq-unsigned": {"quant_format": q.QuantFormat.QDQ, **UNSIGNED},
    "operators": {"quant_format": q.QuantFormat.QOperator},
    "operators-by-channel": {"quant_format": q.QuantFormat.QOperator, "per_channel": True},
    "operators-unsigned": {"quant_format": q.QuantFormat.QOperator, **UNSIGNED},
}


def judged(path: Path) -> None:
    model = onnx.load(path)
    found = analyze(model)
    assert not found.findings.opaque, next(iter(found.findings.opaque.values()))
    assert sorted(g.size for g in found.groups if g.resizable) == [8, 10, 12]
    assert all(g.exact and g.scalable for g in found.groups if g.resizable)
    assert found.params > 0.9 * analyze(path.with_name("float.onnx")).params
    assert len(check_shrink(model).groups) == 3
    for scale in (1.5, 2.0):
        assert len(check_widen(model, scale=scale).groups) == 3


@pytest.mark.parametrize(
    "options",
    [pytest.param(given, id=name, marks=pytest.mark.nightly if "unsigned" in name else ())
     for name, given in STATIC.items()],
)  # fmt: skip
def test_static(network: Path, options: dict[str, Any]) -> None:
    path = network.with_name("quantised.onnx")
    q.quantize_static(network, path, Reader(), **options)
    judged(path)


@pytest.mark.parametrize(
    ("kind", "each"),
    [
        (q.QuantType.QInt8, True), (q.QuantType.QUInt8, False),
        pytest.param(q.QuantType.QInt8, False, marks=pytest.mark.nightly),
        pytest.param(q.QuantType.QUInt8, True, marks=pytest.mark.nightly),
    ],
    ids=str,
)  # fmt: skip
def test_dynamic(network: Path, kind: q.QuantType, each: bool) -> None:
    path = network.with_name("quantised.onnx")
    q.quantize_dynamic(network, path, weight_type=kind, per_channel=each)
    judged(path)


def test_four_bits(network: Path) -> None:
    """Of rows of blocks the outputs change one by one; what they take stays where zero points are packed."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    shapes = {"w1": (5, 64), "w2": (64, 96), "w3": (96, 32)}
    body = "a = MatMul (x, w1) r = Relu (a) b = MatMul (r, w2) s = Relu (b) y = MatMul (s, w3)"
    model = build("float[N,5] x", "float y", body, shapes)
    quantiser = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
    quantiser.process()
    made = quantiser.model.model
    found = analyze(made)
    assert not found.findings.opaque
    assert sum(constant_shape(v)[0] == 96 for v in found.model.graph.initializers.values()) >= 1
    assert check_shrink(made).operands
    assert check_widen(made).operands
