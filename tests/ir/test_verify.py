from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from chanc.errors import ModelError
from chanc.ir import load, to_proto, verify
from chanc.ir.verify import END_RULES, GRAPH_RULES, NODE_RULES

TEXT = """
<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
g (float[N, 4] x, bool c) => (float[N, 4] y)
<float[4, 4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
{
  h = MatMul (x, w)
  i = If (c) <
    then_branch = t () => (float[N, 4] a) { a = Relu (h) },
    else_branch = e () => (float[N, 4] b) { k = Neg (w)  b = MatMul (h, k) }
  >
  y = local.twice (i)
}
<domain: "local", opset_import: ["" : 17]>
twice (p) => (q) { q = Add (p, p) }
"""


def model() -> ir.Model:
    built: ir.Model = ir.from_onnx_text(TEXT)
    return built


def body(built: ir.Model, branch: str) -> ir.Graph:
    graph: ir.Graph = built.graph[1].attributes[branch].as_graph()
    return graph


def function(built: ir.Model) -> ir.Function:
    return next(iter(built.functions.values()))


def detach(built: ir.Model) -> None:
    """An input of a node that was taken out of the graph."""
    node = ir.node("Neg", [built.graph.inputs[0]])
    node.outputs[0].name = "gone"
    built.graph[0].replace_input_with(0, node.outputs[0])


def swap(built: ir.Model) -> None:
    first = built.graph[0]
    built.graph.remove(first)
    built.graph.append(first)


def capture(built: ir.Model) -> None:
    """A body reads what the graph around it computes only after the body's node."""
    body(built, "then_branch")[0].replace_input_with(0, built.graph[2].outputs[0])


def leak(built: ir.Model) -> None:
    """The graph reads what only a body computes."""
    built.graph[2].replace_input_with(0, body(built, "then_branch").outputs[0])


def shadow(built: ir.Model) -> None:
    """A name in the body hides the outer tensor that a later node of the body reads by object."""
    body(built, "else_branch")[0].outputs[0].name = "h"


def cross(built: ir.Model) -> None:
    body(built, "then_branch")[0].replace_input_with(0, body(built, "else_branch")[0].outputs[0])


def same_output(built: ir.Model) -> None:
    built.graph[1].outputs[0].name = "h"


def same_input(built: ir.Model) -> None:
    built.graph.inputs[1].name = "x"


def unnamed(built: ir.Model) -> None:
    built.graph.inputs[0].name = ""


def empty_initializer(built: ir.Model) -> None:
    built.graph.initializers["w"].const_value = None


def other_shape(built: ir.Model) -> None:
    built.graph.initializers["w"].const_value = ir.tensor(np.zeros((4, 5), np.float32))


def other_type(built: ir.Model) -> None:
    built.graph.initializers["w"].const_value = ir.tensor(np.zeros((4, 4), np.int8))


def no_import(built: ir.Model) -> None:
    built.graph[0].domain = "com.me"


def flag_as_float(built: ir.Model) -> None:
    """A mutated file had such a GRU."""
    built.graph[0].op_type = "Gemm"
    built.graph[0].attributes["transB"] = ir.AttrFloat32("transB", 1.0)


def one_input_less(built: ir.Model) -> None:
    built.graph[0].resize_inputs(1)


def no_first_input(built: ir.Model) -> None:
    body(built, "else_branch")[1].replace_input_with(0, None)


def handed_in_by_nobody(built: ir.Model) -> None:
    built.graph[0].op_type = "Gemm"
    built.graph[0].attributes["transB"] = ir.RefAttr("transB", "flag", ir.AttributeType.INT)


def body_as_text(built: ir.Model) -> None:
    built.graph[1].attributes["then_branch"] = ir.AttrString("then_branch", "a")


def no_import_in_function(built: ir.Model) -> None:
    function(built)[0].domain = "com.me"


def function_reads_the_graph(built: ir.Model) -> None:
    function(built)[0].replace_input_with(0, built.graph[0].outputs[0])


def lost_output(built: ir.Model) -> None:
    built.graph.outputs[0] = ir.Value(name="z")


BROKEN: list[tuple[Callable[[ir.Model], None], str, str]] = [
    (detach, "inputs-defined", "MatMul .*'gone' is not defined"),
    (swap, "inputs-defined", "If .*'h'|Relu .*'h' is not defined"),
    (capture, "inputs-defined", "Relu .*'y' is not defined"),
    (leak, "inputs-defined", "twice .*'a' is not defined"),
    (shadow, "inputs-defined", "MatMul .*'h' means another tensor"),
    (cross, "inputs-defined", "Relu .*'k' is not defined"),
    (same_output, "single-assignment", "If .*'h' is defined already"),
    (same_input, "inputs-named", "two inputs have the name 'x'"),
    (unnamed, "inputs-named", "no name"),
    (empty_initializer, "initializers-filled", "'w' has no data"),
    (other_shape, "initializers-filled", "'w' is declared .4, 4., its data is .4, 5."),
    (other_type, "initializers-filled", "'w' is declared FLOAT, its data is INT8"),
    (no_import, "operator-imported", "'com.me' is not imported"),
    (one_input_less, "tensors-counted", "MatMul 'h': has 1 inputs, MatMul takes 2"),
    (no_first_input, "tensors-counted", "MatMul 'b': lacks its input 'A'"),
    (flag_as_float, "attributes-typed", "Gemm 'h': attribute 'transB' is FLOAT, Gemm takes INT"),
    (handed_in_by_nobody, "attributes-typed", "Gemm 'h': attribute 'transB' is a function's to hand in"),
    (body_as_text, "attributes-typed", "If 'i': attribute 'then_branch' is STRING, If takes GRAPH"),
    (no_import_in_function, "operator-imported", "'com.me' is not imported"),
    (function_reads_the_graph, "inputs-defined", "Add .*'h' is not defined"),
    (lost_output, "outputs-defined", "'z' is not defined"),
]


def test_a_legal_model_is_legal_and_unchanged() -> None:
    built = model()
    before = to_proto(built)
    verify(built, outputs=["y"])
    assert to_proto(built) == before
    verify(load(built))


@pytest.mark.parametrize(("break_it", "rule", "match"), BROKEN, ids=lambda case: getattr(case, "__name__", ""))
def test_each_break_names_its_rule_and_node(break_it: Callable[[ir.Model], None], rule: str, match: str) -> None:
    built = model()
    break_it(built)
    with pytest.raises(ModelError, match=match) as caught:
        verify(built)
    assert str(caught.value).startswith(f"illegal graph ({rule}): ")
    assert "\n" not in str(caught.value)


def test_every_rule_is_broken_by_a_test() -> None:
    rules = {rule.name for rule in (*GRAPH_RULES, *NODE_RULES, *END_RULES)}
    # onnx_ir keeps the dictionary of initializers and their names in step by itself.
    assert rules - {rule for _, rule, _ in BROKEN} == {"initializers-named"}


def test_kept_outputs() -> None:
    with pytest.raises(ModelError, match=r"outputs-kept.*'y'.*'z'"):
        verify(model(), outputs=["z"])


def test_an_initializer_that_is_an_output_and_a_captured_output() -> None:
    text = '<ir_version: 9, opset_import: ["" : 17]> g () => (float[1] w) <float[1] w = {1}> { }'
    verify(ir.from_onnx_text(text))
    built = model()
    branch = body(built, "then_branch")
    branch.outputs[0] = built.graph[0].outputs[0]
    verify(built)


def test_optional_inputs_and_outputs() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]>
    g (float[1, 4, 8] x) => (float[1] y) { a, , m = Foo (x, , x)  y = Clip (a, , m) }"""
    verify(ir.from_onnx_text(text))
