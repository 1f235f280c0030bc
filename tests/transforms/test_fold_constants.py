from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc.ir.normalize import normalize
from chanc.testing.builders import build
from chanc.transforms import fold_constants

KERNEL = "k = Transpose <perm = [3, 2, 0, 1]> (w)"
SHAPE = np.array([1, 6, 1, 1])


def loaded(body: str, **weights):
    proto = build("float[N,3,9,9] x", "float y", body, weights)
    model = ir.from_proto(proto)
    normalize(model)
    return proto, model


def test_what_keras_writes_on_torch(same, ops) -> None:
    body = f"""{KERNEL} c = Cast <to = 1> (k) i = Cast <to = 1> (x) z = Conv (i, c)
               v = Add (var, small) s = Sqrt (v) r = Div (gain, s) f = Reshape (r, shape) y = Mul (z, f)"""
    proto, model = loaded(body, w=[3, 3, 3, 6], var=[6], small=np.float32(1e-3), gain=[6], shape=SHAPE)
    assert fold_constants(model)
    assert ops(model) == ["Conv", "Mul"]
    assert set(model.graph.initializers) == {"w", "r"}
    assert model.graph.initializers["w"].const_value.shape == [6, 3, 3, 3]
    same(proto, model, tolerance=1e-6)
    assert not fold_constants(model)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        (f"{KERNEL} a = Conv (x, k) m = ReduceMean <keepdims = 0> (w) y = Add (a, m)", {"w": [3, 3, 3, 6]}),
        ("h = Cast <to = 10> (x) g = Cast <to = 1> (h) y = Conv (g, w)", {"w": [6, 3, 3, 3]}),
        ("r = RandomNormalLike <seed = 1.0> (w) z = Conv (x, w2) y = Add (z, r)", {"w": [6, 1, 1], "w2": [6, 3, 3, 3]}),
        ("e = Expand (w, n) y = Add (x, e)", {"w": [9], "n": np.array([5000, 3, 9, 9])}),
    ],
    ids=["two readers", "a cast that rounds", "random numbers", "larger than a weight may be"],
)
def test_what_stays(body, weights) -> None:
    proto, model = loaded(body, **weights)
    assert not fold_constants(model)
    assert [node.op_type for node in model.graph] == [node.op_type for node in proto.graph.node]


def test_graph_outputs_stay(same) -> None:
    proto = build("float[N,3,9,9] x", "float y, float[6,3,3,3] k", f"{KERNEL} y = Conv (x, k)", {"w": [3, 3, 3, 6]})
    model = ir.from_proto(proto)
    assert not fold_constants(model)
    same(proto, model, tolerance=1e-6)
