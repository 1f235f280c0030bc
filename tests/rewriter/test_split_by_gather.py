"""A Split whose parts no longer lie side by side becomes Gathers: the shapes that they declare are the new ones."""

from __future__ import annotations

import numpy as np
import onnx.shape_inference
import pytest

from chanc.ir import check, load
from chanc.oracles import check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

BLOCK = """
r{k} = Reshape (e{k}, apart)
t{k} = Transpose <perm = [0, 2, 1, 3, 4]> (r{k})
s{k} = Reshape (t{k}, flat)
l{k}, m{k} = Split <axis = 1> (s{k}, sizes)
d{k} = Conv (m{k}, w{k})
e{next} = Concat <axis = 1> (l{k}, d{k})
"""
BLOCKS = "".join(BLOCK.format(k=k, next=k + 1) for k in range(3))
SHUFFLED = f"a = Conv (x, wa)\nb = Conv (x, wb)\ne0 = Concat <axis = 1> (a, b)\n{BLOCKS}\ny = Conv (e3, we)"
SHAPES = {
    "wa": (6, 3, 1, 1), "wb": (6, 3, 1, 1), **{f"w{k}": (6, 6, 1, 1) for k in range(3)}, "we": (2, 12, 1, 1),
    "sizes": np.array([6, 6]), "apart": np.array([0, 2, 6, 4, 4]), "flat": np.array([0, 12, 4, 4]),
}  # fmt: skip


@pytest.mark.parametrize("transfer", ["select", "widen"])
@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_declared_shapes_follow(scale: float, transfer: str) -> None:
    model = onnx.shape_inference.infer_shapes(build("float[N,3,4,4] x", "float y", SHUFFLED, SHAPES))
    done = rewrite(model, scale=scale, transfer=transfer)
    assert done.changed
    assert not done.trace.left
    check(load(done.model))
    onnx.shape_inference.infer_shapes(done.model, strict_mode=True, check_type=True)


def test_the_function_stays() -> None:
    model = build("float[N,3,4,4] x", "float y", SHUFFLED, SHAPES)
    for scale in (1.5, 2.0):
        assert check_widen(model, scale=scale).operands
