"""Weights that the graph computes from initializers alone: constants for a rewrite, computed for everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.oracles import check_shrink, check_widen, differences
from chanc.rewriter import rewrite
from chanc.testing.builders import Weight, build

STANDARDISED = """
    m{0} = ReduceMean<axes=[1, 2, 3]>({0})
    d{0} = Sub({0}, m{0})
    s{0} = Mul(d{0}, d{0})
    r{0} = ReduceMean<axes=[1, 2, 3]>(s{0})
    e{0} = Add(r{0}, eps)
    q{0} = Sqrt(e{0})
    n{0} = Div(d{0}, q{0})
    f{0} = Mul(n{0}, g{0})
"""
NORMED = """
    l{0} = ReduceL2<axes=[1, 2, 3]>({0})
    n{0} = Div({0}, l{0})
    f{0} = Mul(n{0}, g{0})
"""
BRANCH = """
    e{0} = Add(var{0}, eps)
    q{0} = Sqrt(e{0})
    n{0} = Div(g{0}, q{0})
    f{0} = Mul({0}, n{0})
"""
SOFTMAX = "f{0} = Softmax<axis=1>({0})\n"
NETWORK = """
    a = Conv<pads=[1, 1, 1, 1]>(x, fw)
    b = Relu(a)
    c = Conv<pads=[1, 1, 1, 1]>(b, fv)
    h = Relu(c)
    y = Conv(h, last)
"""
WEIGHTS: dict[str, Weight] = {
    "w": (8, 3, 3, 3), "gw": (8, 1, 1, 1), "varw": (8, 1, 1, 1), "v": (6, 8, 3, 3), "gv": (6, 1, 1, 1),
    "varv": (6, 1, 1, 1), "last": (4, 6, 1, 1), "eps": np.float32(1e-5),
}  # fmt: skip
FORMS = {"standardised": STANDARDISED, "normed": NORMED, "reparametrised": BRANCH, "softmax": SOFTMAX}


def network(form: str, **changes: Weight) -> Any:
    body = FORMS[form].format("w") + FORMS[form].format("v") + NETWORK
    return build("float[N,3,8,8] x", "float y", body, {**WEIGHTS, **changes})


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("form", FORMS)
def test_they_are_constants_and_exact_both_ways(form: str) -> None:
    model = network(form)
    found = analyze(model)
    assert found.folded == ("w", "v")
    assert {g.id: (g.size, g.exact, g.scalable) for g in found.groups if g.resizable} == {
        "w": (8, True, True), "v": (6, True, True),
    }  # fmt: skip
    assert check_shrink(model).operands
    for scale in (1.5, 2.0):
        assert check_widen(model, scale=scale).operands
    small = rewrite(model, scale=0.5)
    assert operators(small.model) == ["Conv", "Relu", "Conv", "Relu", "Conv"]
    assert "constants now: w, v" in small.trace.notes[0]


def test_what_does_not_change_stays_computed() -> None:
    body = STANDARDISED.format("w") + NORMED.format("v") + NORMED.format("u") + """
        a = Conv<pads=[1, 1, 1, 1]>(x, fw)
        b = Relu(a)
        c = Conv<pads=[1, 1, 1, 1]>(b, fv)
        h = Relu(c)
        y = Conv(h, fu)
    """
    model = build("float[N,3,8,8] x", "float y", body, {**WEIGHTS, "u": (4, 6, 1, 1), "gu": (4, 1, 1, 1)})
    assert analyze(model).folded == ("w", "v", "u")
    part = rewrite(model, {"w": {"scale": 0.5}})
    assert "constants now: w, v" in part.trace.notes[0]
    assert operators(part.model).count("ReduceL2") == 1
    same = rewrite(model, {"w": 8})
    assert not same.changed
    assert not same.trace.notes
    assert operators(same.model) == operators(model)


def test_a_model_that_goes_on_to_train_keeps_them() -> None:
    model = network("standardised")
    assert analyze(model, fold=False).folded == ()
    result = rewrite(model, scale=0.5, fold=False)
    assert operators(result.model) == operators(model)
    assert not result.trace.notes


def test_they_compute_what_the_graph_did() -> None:
    model = network("standardised")
    constant = rewrite(model, {"v": {"keep": list(range(6))}, "w": {"keep": [0, 1, 2, 3, 4, 5, 6, 7]}}).model
    assert max(found.error for found in differences(model, constant)) < 1e-6
    wide = rewrite(model, {"w": 12}, transfer="widen").model
    assert max(found.error for found in differences(model, wide)) < 1e-5


def test_a_weight_that_is_used_elsewhere_keeps_its_name() -> None:
    body = NORMED.format("w") + """
        a = Conv<pads=[1, 1, 1, 1]>(x, fw)
        b = Conv<pads=[1, 1, 1, 1]>(x, w)
        s = Add(a, b)
        y = Conv(s, last)
    """
    model = build("float[N,3,8,8] x", "float y", body, {**WEIGHTS, "last": (4, 8, 1, 1)})
    found = analyze(model)
    assert found.folded == ("fw",)
    assert {"fw", "w"} <= set(found.model.graph.initializers)
    assert check_shrink(model).operands
    assert check_widen(model).operands


@pytest.mark.parametrize(
    "body",
    [
        "t = Transpose<perm=[1, 0, 2, 3]>(w)\nf = Transpose<perm=[1, 0, 2, 3]>(t)",
        "f = Add(w, w2)",
        "f = Mul(w, gw)",
        "n = Neg(w)\nf = Mul(n, gw)",
    ],
)
def test_views_sums_and_products_stay_as_they_are(body: str) -> None:
    text = f"{body}\na = Conv<pads=[1, 1, 1, 1]>(x, f)\nb = Relu(a)\ny = Conv(b, last)"
    model = build("float[N,3,8,8] x", "float y", text, {**WEIGHTS, "w2": (8, 3, 3, 3), "last": (4, 8, 1, 1)})
    assert analyze(model).folded == ()
    assert check_shrink(model).operands
    assert check_widen(model).operands


def test_what_a_caller_may_feed_is_no_constant() -> None:
    body = NORMED.format("w") + "a = Conv(x, fw)\ny = Conv(a, last)"
    inputs = "float[N,3,8,8] x, float[8,1,1,1] gw"
    model = build(inputs, "float y", body, {**WEIGHTS, "last": (4, 8, 1, 1)})
    found = analyze(model)
    assert found.folded == ("w",)  # w / |w|, without the gain
    assert [g.id for g in found.groups if g.resizable] == []
    result = rewrite(model, {})
    assert result.trace.notes == ("inputs with a value of their own, which a caller may feed, stay as they are: gw",)
    small = result.model
    feeds = ort.random_feeds(model)
    fed = {**feeds, "gw": np.full((8, 1, 1, 1), 2, np.float32)}
    assert not np.allclose(ort.run(small, feeds)[0], ort.run(small, fed)[0])


def test_a_kernel_that_a_caller_may_feed_stays() -> None:
    inputs = "float[N,3,8,8] x, float[6,8,1,1] fed"
    weights = {"w": (8, 3, 3, 3), "fed": (6, 8, 1, 1), "last": (4, 6, 1, 1)}
    found = analyze(build(inputs, "float y", "a = Conv(x, w)\nb = Conv(a, fed)\ny = Conv(b, last)", weights))
    assert found.group("w").reason == "its weight is an input that a caller may feed (Conv 'b')"


def test_a_default_is_not_folded_into_the_graph() -> None:
    body = "r = Sqrt(k)\nd = Div(x, r)\na = Conv(d, w)\nb = Relu(a)\ny = Conv(b, last)"
    weights = {"w": (8, 3, 3, 3), "last": (4, 8, 1, 1), "k": np.full((1, 1, 1, 1), 4, np.float32)}
    model = build("float[N,3,8,8] x, float[1,1,1,1] k", "float y", body, weights)
    result = rewrite(model, scale=0.5)
    assert operators(result.model) == ["Sqrt", "Div", "Conv", "Relu", "Conv"]
    assert result.trace.notes[-1].endswith("stay as they are: k")
    assert check_shrink(model).operands


@pytest.mark.parametrize("ir_version", [3, 8])
def test_where_all_initializers_are_inputs_they_are_constants(ir_version: int) -> None:
    body = "a = Conv(x, w)\nr = Reshape(a, shape)\ny = MatMul(r, last)"
    inputs = "float[N,3,4,4] x, float[8,3,4,4] w, int64[2] shape, float[8,5] last"
    model = build(inputs, "float y", body, {"w": (8, 3, 4, 4), "shape": np.array([-1, 8]), "last": (8, 5)})
    model.ir_version = ir_version
    assert {g.id for g in analyze(model).groups if g.resizable} == {"w"}
    assert check_shrink(model).operands
    assert check_widen(model).operands
    assert [value.name for value in rewrite(model, scale=0.5).model.graph.input] == ["x", "w", "shape", "last"]
