"""Invalid graphs of many kinds: each is one clear line, wherever it is noticed, and never a traceback."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import onnx
import onnx.parser
import pytest

from chanc.analysis import analyze
from chanc.errors import ChancError, ModelError
from chanc.ir import check, load
from chanc.rewriter import rewrite
from chanc.testing.strategies import graph_of_seed

ONES = ", ".join(["1"] * 12)
HEAD = f'<ir_version: 9, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float y) <float[4,3,1,1] w = {{{ONES}}}>'
WRONG = {
    "a = Conv (x, w) y = Flatten ()": "Flatten 'y': has 0 inputs, Flatten takes 1",
    "y = Conv (x)": "Conv 'y': has 1 inputs, Conv takes 2 to 3",
    "y = Relu (x, w)": "Relu 'y': has 2 inputs, Relu takes 1",
    "y = BatchNormalization (x, w)": "BatchNormalization 'y': has 2 inputs, BatchNormalization takes 5",
    "y = Conv (, w)": "Conv 'y': lacks its input 'X'",
    "y = Concat <axis = 1> ()": "Concat 'y': has 0 inputs, Concat takes at least 1",
    "y, z = Relu (x)": "Relu 'y': has 2 outputs, Relu takes 1",
    "y = Transpose <perm = [0, 1]> (x)": "Transpose",
    "y = Gemm (x, w)": "Gemm",
    "y = Softmax <axis = 9> (x)": "Softmax",
    "y = Squeeze <axes = [0]> (x)": "Squeeze",
    "y = MatMul (x, w)": "MatMul",
    "s = Shape (x) y = Conv (s, w)": "Conv",
}


def parsed(body: str) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f"{HEAD} {{ {body} }}")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


def said(work: Callable[[onnx.ModelProto], object], proto: onnx.ModelProto) -> str:
    """What a refusal says; nothing where there is none. Any other error comes through."""
    try:
        work(proto)
    except ChancError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("body", WRONG)
def test_check_says_what_is_wrong_in_one_line(body: str) -> None:
    with pytest.raises(ModelError, match=WRONG[body]) as caught:
        check(load(parsed(body)))
    assert "\n" not in str(caught.value)
    for work in (analyze, lambda source: rewrite(source, scale=0.5)):
        assert "\n" not in said(work, parsed(body))


def _broken(proto: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """A model with one node that has too much or too little, or an attribute of another graph's."""
    twin = copy.deepcopy(proto)
    nodes = list(twin.graph.node)
    node, other = rng.choice(nodes), rng.choice(nodes)
    match rng.randrange(6):
        case 0 if node.input:
            node.input.pop()
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = ""
        case 2:
            node.input.append(twin.graph.input[0].name)
        case 3 if node.attribute:
            node.attribute.pop(rng.randrange(len(node.attribute)))
        case 4 if node.input and other.input:
            node.input[0] = other.input[-1]
        case _:
            node.op_type = other.op_type
    return twin


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(12, 200))])
def test_broken_graphs_never_end_in_a_traceback(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(4):
        proto = _broken(graph_of_seed(seed), rng)
        for work in (lambda source: check(load(source)), analyze, lambda source: rewrite(source, scale=0.5)):
            assert "\n" not in said(work, proto)
