"""Exported networks with open axes change as much as their twins of fixed sizes; run where CHANC_SHARED has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from chanc.analysis import Analysis, analyze
from chanc.backends import ort
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

CASES = Path(os.environ.get("CHANC_SHARED", "/nowhere")) / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="CHANC_SHARED has no cases")

FREE = {
    "zeros_dynamic_batch_shift": 0.99,
    "size_known_later": 0.99,
    "zeros_constant_size": 1.0,
    "constant_of_shape_partly_known": 1.0,
    "convlstm_dynamic_batch": 0.99,
    "same_padding_open_size": 0.99,
}
"""The share of the params that may change."""


def share(found: Analysis) -> float:
    members = {op.initializer for group in found.groups if group.resizable for op in group.operands}
    sizes = {name: value.const_value.size for name, value in found.model.graph.initializers.items()}  # type: ignore[union-attr]
    return sum(sizes[name] for name in members if name in sizes) / found.params


@pytest.mark.parametrize("name", FREE)
def test_all_may_change_and_both_oracles_hold(name: str) -> None:
    path = str(CASES / f"{name}.onnx")
    assert share(analyze(path)) >= FREE[name]
    check_shrink(path)
    check_widen(path)


def test_a_transformer_of_open_length() -> None:
    """The exporter wrote 24 positions into it, and names them T: what is invented for T doesn't run."""
    path = str(CASES / "transformer_open_length.onnx")
    assert share(analyze(path)) >= 0.99
    assert share(analyze(path, dims={"T": 24})) >= 0.99
    assert analyze(path, dims={"T": 24}).macs == analyze(str(CASES / "transformer_fixed_length.onnx")).macs


def test_an_input_without_a_shape() -> None:
    """It takes part as far as it is known: the convolutions behind it have channels of their own."""
    found = analyze(str(CASES / "input_without_shape.onnx"))
    assert {group.id: group.resizable for group in found.groups} == {"w": True, "w:1": False, "w2": False}


def test_a_root_of_a_size_that_was_read_off_a_width() -> None:
    """1 / sqrt(sqrt(heads' size)), as TorchScript scales both factors of attention: known, and never 8 for sqrt(8)."""
    body = """
    h = MatMul(x, w)
    s = Shape(h)
    size = Slice(s, minus, most)
    real = Cast<to=1>(size)
    root = Sqrt(real)
    part = Div(one, root)
    again = Sqrt(part)
    m = Mul(h, again)
    y = MatMul(m, w2)
    """
    weights = {"w": (6, 8), "w2": (8, 4), "minus": np.array([-1]), "most": np.array([9]), "one": np.float32([1])}
    model = build("float[N,T,6] x", "float[N,T,4] y", body, weights)
    same = rewrite(model, {}).model
    feeds = ort.random_feeds(model)
    for one, two in zip(ort.run(model, feeds), ort.run(same, feeds), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
