"""Local functions: of another opset, in one another, calling themselves."""

from __future__ import annotations

import itertools

import onnx
import onnx.parser
import pytest

from chanc.analysis import analyze
from chanc.errors import ModelError
from chanc.ir import check, load
from chanc.ir.normalize import normalize
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite

SMALL = ", ".join(str(k % 5 - 1.5) for k in range(18))
LARGE = ", ".join(str(k % 7 - 2.5) for k in range(24))
GRAPH = f"""
    <ir_version: 9, opset_import: ["" : 18, "own" : 1]>
    g (float[N,3,8,8] x) => (float[N,4,8,8] y)
    <float[6,3,1,1] w = {{{SMALL}}}, float[4,6,1,1] v = {{{LARGE}}}>
    {{
        a = Conv (x, w)
        b = own.F (a)
        y = Conv (b, v)
    }}
"""


def model(functions: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(GRAPH + functions)


def function(body: str, opset: int = 17, name: str = "F") -> str:
    return f'<domain: "own", opset_import: ["" : {opset}, "own" : 1]> {name} (p) => (q) {{ {body} }}\n'


@pytest.mark.parametrize(
    "functions",
    [
        function("q = Relu (p)"),
        function("r = Sigmoid (p) q = Mul (r, p)", opset=14),
        function("q = own.G (p)", opset=18) + function("q = Relu (p)", opset=15, name="G"),
        function("q = Relu (p)", opset=20),
    ],
)
def test_operators_that_mean_the_same_in_both_opsets(functions: str) -> None:
    proto = model(functions)
    check(load(proto))
    assert [g.id for g in analyze(proto).groups if g.resizable] == ["w"]
    assert check_shrink(proto).operands
    assert check_widen(proto).operands


def test_operators_that_changed_are_named() -> None:
    proto = model(function("q = ReduceMean <axes = [1]> (p)"))
    for work in (analyze, lambda source: normalize(load(source)), lambda source: rewrite(source, scale=0.5)):
        with pytest.raises(ModelError, match="'own::F' is of opset 17, the model of 18, and ReduceMean isn't the same"):
            work(proto)


@pytest.mark.parametrize(
    ("functions", "calls"),
    [
        (function("q = own.F (p)"), "own::F -> own::F"),
        (function("r = Relu (p) q = own.G (r)") + function("q = own.F (p)", name="G"), "own::F -> own::G -> own::F"),
        (function("q = own.G (p)") + function("q = own.G (p)", name="G"), "own::G -> own::G"),
    ],
)
def test_functions_that_call_themselves(functions: str, calls: str) -> None:
    proto = model(functions)
    for work in (load, analyze, lambda source: rewrite(source, scale=0.5)):
        with pytest.raises(ModelError, match=f"calls itself \\({calls}\\), which ONNX forbids") as caught:
            work(proto)
        assert "\n" not in str(caught.value)


def tower(height: int) -> onnx.ModelProto:
    """Functions that call the next one twice: 2^(height - 1) nodes."""
    names = ["F", *(f"F{k}" for k in range(1, height))]
    floors = [
        function(f"r = own.{above} (p) q = own.{above} (r)", 18, name) for name, above in itertools.pairwise(names)
    ]
    return model("".join(floors) + function("q = Relu (p)", 18, names[-1]))


def test_what_many_calls_stand_for_has_names_of_its_own() -> None:
    loaded = load(tower(8))
    normalize(loaded)
    names = [node.outputs[0].name for node in loaded.graph]
    assert len(names) == 2 + 128 == len(set(names))
    assert {"a", "b", "y"} <= set(names)
    assert len({node.name for node in loaded.graph}) >= 128


def test_calls_that_stand_for_too_many_nodes_are_refused_at_once() -> None:
    with pytest.raises(ModelError, match="the calls of functions stand for 16777218 nodes, 200000 are the most"):
        load(tower(25))


def test_a_long_chain_of_calls_is_no_recursion() -> None:
    count = 600
    body = [function(f"q = own.F{k + 1} (p)" if k + 1 < count else "q = Relu (p)", 18, f"F{k}") for k in range(count)]
    loaded = load(model(function("q = own.F0 (p)", 18) + "".join(body)))
    normalize(loaded)
    assert [node.op_type for node in loaded.graph] == ["Conv", "Relu", "Conv"]


def test_a_long_circle_is_told_in_short() -> None:
    body = [function(f"q = own.F{(k + 1) % 50} (p)", 18, f"F{k}") for k in range(50)]
    with pytest.raises(ModelError, match=r"'own::F0' calls itself \(own::F0 -> own::F1 -> .* -> \.\.\.\)") as caught:
        load(model(function("q = own.F0 (p)", 18) + "".join(body)))
    assert len(str(caught.value)) < 300


def test_what_nothing_calls_is_not_put_anywhere() -> None:
    unread = tower(25)
    unread.graph.node[1].op_type = "Other"
    unread.functions.append(onnx.parser.parse_model(GRAPH + function("q = Relu (p)", 18, "Other")).functions[0])
    loaded = load(unread)
    normalize(loaded)
    assert [node.op_type for node in loaded.graph] == ["Conv", "Relu", "Conv"]
    assert not loaded.functions
