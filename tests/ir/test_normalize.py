from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import onnx.parser
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import PassManager

from chanc.ir import load
from chanc.ir.normalize import is_normal, normalize
from chanc.passes import Normalize
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.testing.strategies import graph_of_seed


def test_constants_become_initializers_of_the_same_name(same, ops) -> None:
    graph = Graph(stored="constant")
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"})
    proto = graph.model(x.conv(4).bn().relu())
    loaded = ir.from_proto(proto)
    assert Normalize()(loaded).modified
    assert ops(loaded) == ["Conv", "BatchNormalization", "Relu"]
    constants = {node.output[0] for node in proto.graph.node if node.op_type == "Constant"}
    assert set(loaded.graph.initializers) == constants
    same(proto, loaded, tolerance=0)
    assert not Normalize()(loaded).modified


@pytest.mark.parametrize(("text", "want"), [
    ("value_float = 2.5", np.float32(2.5)),
    ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
    ("value_int = 3", np.int64(3)),
    ("value_ints = [3, 4]", np.array([3, 4])),
    ("value = int64[2] {5, 6}", np.array([5, 6])),
])  # fmt: skip
def test_every_form_of_constant(text, want) -> None:
    loaded = ir.from_proto(build("float[N] x", "float y", f"c = Constant <{text}> () f = Cast <to = 1> (c) "
                                 "s = ReduceSum <keepdims = 0> (f) y = Mul (x, s)"))  # fmt: skip
    normalize(loaded)
    array = loaded.graph.initializers["c"].const_value.numpy()
    assert array.dtype == np.asarray(want).dtype
    assert np.array_equal(array, want)


def test_text_constants_stay_nodes() -> None:
    text = oh.make_node("Constant", [], ["c"], value_string="hello")
    graph = oh.make_graph([text, oh.make_node("Identity", ["c"], ["y"])], "g", [],
                          [oh.make_tensor_value_info("y", onnx.TensorProto.STRING, [])])  # fmt: skip
    loaded = ir.from_proto(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)]))
    assert not Normalize()(loaded).modified


def test_a_constant_output_stays_a_node(ops) -> None:
    loaded = ir.from_proto(build("float[N] x", "float c, float y", "c = Constant <value_float = 2.0> () y = Relu (x)"))
    assert not Normalize()(loaded).modified
    assert ops(loaded) == ["Constant", "Relu"]


def test_aliases_of_initializers_go(same, ops) -> None:
    proto = build("float[N,3,8,8] x", "float y, float z", """
        alias = Identity (w)
        again = Identity (alias)
        a = Conv (x, w)
        y = Conv (x, again)
        plain = Relu (a)
        z = Identity (plain)
    """, {"w": [4, 3, 1, 1]})  # fmt: skip
    loaded = ir.from_proto(proto)
    normalize(loaded)
    assert ops(loaded) == ["Conv", "Conv", "Relu", "Identity"]
    assert {node.inputs[1].name for node in loaded.graph if node.op_type == "Conv"} == {"w"}
    same(proto, loaded, tolerance=0)


def test_an_alias_that_is_an_output_stays(ops) -> None:
    loaded = ir.from_proto(build("float[N] x", "float z, float y", "z = Identity (w) y = Relu (x)", {"w": [4]}))
    assert not Normalize()(loaded).modified
    assert ops(loaded) == ["Identity", "Relu"]


def test_nodes_are_sorted_and_functions_inlined(same, ops) -> None:
    body = [oh.make_node("Mul", ["a", "a"], ["s"]), oh.make_node("Add", ["s", "a"], ["b"])]
    function = oh.make_function("local", "Twist", ["a"], ["b"], body, [oh.make_opsetid("", 17)])
    graph = oh.make_graph(
        [oh.make_node("Twist", ["x"], ["t"], domain="local"), oh.make_node("Relu", ["t"], ["y"])], "g",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
    )  # fmt: skip
    imports = [oh.make_opsetid("", 17), oh.make_opsetid("local", 1)]
    proto = oh.make_model(graph, functions=[function], opset_imports=imports, ir_version=9)
    loaded = ir.from_proto(proto)
    assert Normalize()(loaded).modified
    assert ops(loaded) == ["Mul", "Add", "Relu"]
    same(proto, loaded, tolerance=0)
    proto.graph.node.reverse()
    shuffled = ir.from_proto(proto)
    assert Normalize()(shuffled).modified
    assert ops(shuffled) == ["Mul", "Add", "Relu"]
    assert not Normalize()(shuffled).modified


def test_constants_that_a_body_reads_are_lifted(same, ops) -> None:
    branches = []
    for op in ("Add", "Sub"):
        info = oh.make_tensor_value_info(f"{op}_y", onnx.TensorProto.FLOAT, None)
        branches.append(oh.make_graph([oh.make_node(op, ["x", "c"], [f"{op}_y"])], op, [], [info]))
    nodes = [
        oh.make_node("Constant", [], ["c"], value=nh.from_array(np.float32([1, 2, 3]), "c")),
        oh.make_node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    inputs = [oh.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []),
              oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3])]  # fmt: skip
    graph = oh.make_graph(nodes, "g", inputs, [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])])
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=9)
    loaded = ir.from_proto(proto)
    normalize(loaded)
    assert ops(loaded) == ["If"]
    same(proto, loaded, tolerance=0)


def test_among_foreign_passes(same) -> None:
    graph = Graph(stored="constant")
    x = graph.input("x", [2, 3, 8, 8]).conv(4).bn().relu()
    proto = graph.model((x + x.conv(4)).gap().flatten().gemm(3))
    passes = [common.CommonSubexpressionEliminationPass(), Normalize(), common.CheckerPass()]
    result = PassManager(passes, steps=3)(ir.from_proto(proto))
    assert result.modified
    same(proto, result.model)


def test_bodies_side_by_side_get_distinct_names(same) -> None:
    """Weights go to the main graph, the second of a name under another; a weight that a branch hands out stays."""
    model = oh.make_model(
        onnx.parser.parse_graph("""
            g (bool flag, float[2,3] x) => (float[2,3] y, float[3] z) {
                y, z = If (flag) <
                    then_branch = t () => (float[2,3] a, float[3] e) {
                        c = Constant <value = float[3] {1, 2, 3}> ()
                        d = Add (x, c)
                        a = Relu (d)
                        e = Constant <value = float[3] {7, 8, 9}> ()
                    },
                    else_branch = f () => (float[2,3] a, float[3] e) <float[3] c = {4, 5, 6}> {
                        a = Sub (x, c)
                        e = Neg (c)
                    }>
            }"""),
        opset_imports=[oh.make_opsetid("", 17)], ir_version=9,
    )  # fmt: skip
    loaded = ir.from_proto(model)
    assert Normalize()(loaded).modified
    assert set(loaded.graph.initializers) == {"c", "c.1"}
    names = [value.name for node in loaded.graph.all_nodes() for value in node.outputs]
    assert len(names) == len(set(names))
    assert set(names) >= {"a", "a.1", "e", "e.1"}
    same(model, loaded, tolerance=0)
    assert not Normalize()(loaded).modified


@pytest.mark.parametrize("seed", range(20))
def test_normal_is_what_normalize_leaves_as_it_is(seed: int) -> None:
    model = load(graph_of_seed(seed))
    normal = is_normal(model)
    assert normal == (not normalize(model))
    assert is_normal(model)


@pytest.mark.parametrize(
    ("nodes", "declared"),
    [
        ("c = Constant<value_float=2.0>() y = Mul(x, c)", ""),
        ("c = Identity(w) d = Identity(c) y = Mul(x, d)", ""),
        ("d = Neg(c) c = Neg(x) y = Neg(d)", ""),
        ("y = If(k) <then_branch = a () => (float[3] p) {p = Mul(x, w)},"
         " else_branch = b () => (float[3] p) {p = Neg(x)}>", ""),
        ("y = If(k) <then_branch = a () => (float[3] p) {c = Constant<value_floats=[1.0, 2.0, 3.0]>() p = Mul(x, c)},"
         " else_branch = b () => (float[3] q) {q = Neg(x)}>", ""),
        ("y = If(k) <then_branch = a () => (float[3] p) <float[3] c = {1, 2, 3}> {p = Mul(x, c)},"
         " else_branch = b () => (float[3] q) {q = Neg(x)}>", ""),
        ("s = SequenceConstruct(x, w) i = Constant<value_int=1>() y = SequenceAt(s, i)", ""),
        ("y = own.twice(x)", '<opset_import: ["" : 17], domain: "own"> twice (x) => (y) { y = Add(x, x) }'),
    ],
)  # fmt: skip
def test_what_is_not_normal_becomes_it_at_once(nodes: str, declared: str) -> None:
    own = ', "own" : 1' if declared else ""
    model = ir.serde.deserialize_model(
        onnx.parser.parse_model(
            f'<ir_version: 9, opset_import: ["" : 17{own}]> g (float[3] x, bool k) => (float[3] y) '
            f"<float[3] w = {{1, 2, 3}}> {{ {nodes} }} {declared}"
        )
    )
    assert not is_normal(model)
    assert normalize(model)
    assert is_normal(model)
    assert not normalize(model)
