"""What widening can't scale exactly it leaves alone, with the cause; the other groups go on, and the function stays.

Weights that the graph computes stay computed here (`fold=False`): folded to constants they would be exact.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.oracles import TOLERANCE, differences
from chanc.rewriter import rewrite
from chanc.testing.builders import build

IMAGE, ROWS = "float[2,3,8,8] x", "float[2,8] x"
W = (8, 3, 1, 1)
KINDS = {
    "a norm of live weights": (
        IMAGE,
        "float y",
        """n = ReduceL2<axes=[1,2,3], keepdims=1>(v)
        u = Div(v, n)
        w = Mul(u, g)
        a = Conv(x, w1)
        b = Conv(a, w)
        y = Conv(b, w4)""",
        {"w1": W, "v": (6, 8, 1, 1), "g": (6, 1, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": "ReduceL2 'n' folds weights over its channels"},
    ),
    "weights through a curve": (
        IMAGE,
        "float y",
        """w = Tanh(v)
        a = Conv(x, w1)
        b = Conv(a, w)
        y = Conv(b, w4)""",
        {"w1": W, "v": (6, 8, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": "its weights pass Tanh 'w'"},
    ),
    "weights made of weights": (
        ROWS,
        "float y",
        """m = MatMul(p, q)
        w = Add(w0, m)
        a = MatMul(x, w1)
        b = MatMul(a, w)
        y = MatMul(b, w4)""",
        {"w1": (8, 8), "p": (8, 3), "q": (3, 6), "w0": (8, 6), "w4": (6, 5)},
        {},
    ),
    "a tied weight": (
        ROWS,
        "float y",
        """a = MatMul(x, w)
        b = Relu(a)
        t = Transpose<perm=[1,0]>(w)
        c = MatMul(b, t)
        d = Relu(c)
        e = MatMul(d, w)
        f = MatMul(e, w3)
        y = MatMul(f, w4)""",
        {"w": (8, 8), "w3": (8, 6), "w4": (6, 5)},
        {"w": "'w' makes its channels and takes them"},
    ),
    "a weight that is data, too": (
        "float[6,3,8,8] x",
        "float y",
        """a = Conv(x, w1)
        b = Conv(a, w)
        c = Mul(a, w)
        d = Conv(c, w4)
        y = Add(b, d)""",
        {"w1": W, "w": (6, 8, 1, 1), "w4": (6, 8, 1, 1)},
        {"w1": "'w' takes channels and is combined with them"},
    ),
    "channels multiplied with themselves": (
        IMAGE,
        "float[2] y",
        """a = Conv(x, w1)
        f = Reshape(a, s)
        t = Transpose<perm=[0,2,1]>(f)
        m = MatMul(t, f)
        n = ReduceMean<axes=[1,2], keepdims=0>(m)
        b = Conv(x, w2)
        c = Conv(b, w3)
        d = ReduceMean<axes=[1,2,3], keepdims=0>(c)
        y = Add(n, d)""",
        {"w1": W, "w2": W, "w3": (1, 8, 1, 1), "s": np.array([2, 8, 64])},
        {"w1": "it is summed over in a product of two values that the model computes (m)"},
    ),
    "a total over channels": (
        IMAGE,
        "float y",
        """q = Conv(x, wq)
        k = Conv(x, wk)
        m = Mul(q, k)
        s = ReduceSum<keepdims=1>(m, axes)
        v = Conv(x, wv)
        z = Mul(v, s)
        y = Conv(z, w4)""",
        {"wq": W, "wk": W, "wv": W, "axes": np.array([1]), "w4": (5, 8, 1, 1)},
        {"wq": "ReduceSum 's' folds its channels"},
    ),
    "a computed zero point": (
        f"{IMAGE}, uint8 zero",
        "float y",
        """a = Conv(x, w1)
        v = DequantizeLinear(w2, s, zero)
        b = Conv(a, v)
        y = Conv(b, w4)""",
        {"w1": W, "w2": np.ones((6, 8, 1, 1), np.uint8), "s": np.float32(0.1), "w4": (5, 6, 1, 1)},
        {"w1": "the zero point 'zero' is computed"},
    ),
}


def model(kind: str) -> onnx.ModelProto:
    inputs, outputs, body, weights, _ = KINDS[kind]
    return build(inputs, outputs, body, weights)


@pytest.mark.parametrize("transfer", ["widen", "grow"])
@pytest.mark.parametrize("scale", [1.5, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_growing(kind: str, scale: float, transfer: str) -> None:
    done = rewrite(model(kind), scale=scale, transfer=transfer, fold=False)
    told = {name: f"{transfer} can't keep the function: {reason}" for name, reason in KINDS[kind][4].items()}
    assert done.trace.left == told
    if done.trace.exact or transfer == "widen":  # copies leave a mean over channels as it is, a new channel doesn't
        assert max(found.error for found in differences(model(kind), done.model)) < TOLERANCE


SHIFTED = """
n = Shape<end=1>({rows})
size = Concat<axis=0>(n, one, three)
zeros = ConstantOfShape(size)
cut = Slice(x, from, to, axis)
s = Concat<axis=1>(zeros, cut)
q = MatMul(s, wq)
k = MatMul(x, wk)
t = Transpose<perm=[0, 2, 1]>(k)
m = MatMul(q, t)
a = Softmax(m)
v = MatMul(x, wv)
o = MatMul(a, v)
y = MatMul(o, w4)
"""


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
@pytest.mark.parametrize("batch", ["n", "n,9", "2"])
def test_a_dynamic_batch_changes_as_much_as_the_static_twin(batch: str, scale: float) -> None:
    """Attention shifted by zeros of a batch that is read off an input: what is left alone is so at any batch."""
    weights = dict.fromkeys(("wq", "wk", "wv"), (3, 8)) | {"w4": (8, 5)}
    weights |= {name: np.array([n]) for name, n in {"one": 1, "three": 3, "from": 0, "to": -1, "axis": 1}.items()}
    body = SHIFTED.format(rows="z" if "," in batch else "x")
    inputs = f"float[{batch[0]},4,3] x" + (", float[n,9] z" if "," in batch else "")
    done, twin = (
        rewrite(build(given, "float y", body, weights), scale=scale, transfer="widen").trace
        for given in (inputs, inputs.replace("n", "2"))
    )
    assert (done.groups, done.left) == (twin.groups, twin.left)
    assert done.groups == {"wq": (8, 8 if scale > 1 else 4), "wv": (8, int(8 * scale))}
    told = "widen can't keep the function: it is summed over in a product of two values that the model computes (m)"
    assert done.left == ({"wq": told} if scale > 1 else {})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][4]])
def test_a_plan_that_names_it_is_carried_out_and_says_so(kind: str) -> None:
    (name, reason), *_ = KINDS[kind][4].items()
    done = rewrite(model(kind), {name: {"scale": 2}}, transfer="widen", fold=False)
    assert not done.trace.exact
    assert done.trace.inexact == {name: reason}
    verdict = done.trace.to_json()["verdicts"][name]
    assert verdict == {"verdict": "changed", "reason": reason, "exact": False}


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_exact_groups_only(kind: str, scale: float) -> None:
    done = rewrite(model(kind), scale=scale, exact=True, transfer="select", fold=False)
    assert done.trace.exact
    assert not done.trace.inexact
    everything = rewrite(model(kind), scale=scale, transfer="select", fold=False).trace
    assert done.trace.left.keys() == everything.inexact.keys()
