from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from chanc.analysis.body_functions import DOMAIN, BodyFunctions
from chanc.ir.nodes import bodies

NESTED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,M,"unk__1"] x, bool c, int64 k, float[] q) => (float[?] y, float[?] z) {
    h = Shape(x)
    a = If(c) <then_branch = t () => (float u) { u = Reshape(x, h) }, else_branch = e () => (float["unk__0",4,4] v) {
        v = Loop(k, c, x) <body = b (int64 i, bool go, float[P,Q,R] w) => (bool on, float n) {
            on = Identity(go)
            n = If(c) <then_branch = tt () => (float p) { p = Expand(q, h) }, else_branch = ee () => (float w) {}>
        }>
    }>
    s = Shape(a)
    first, more = Loop(, c, a) <body = l (int64 j, bool g, float[A,B,C] d) => (bool o, float m, float r) {
        o = Identity(g)  m = Reshape(d, s)  r = Expand(q, h)
    }>
    y = Cast<to = 1>(more)
    found = NonZero(first)
    z = Cast<to = 1>(found)
}"""


def inferred(model: onnx.ModelProto) -> dict[str, bytes]:
    found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    return {value.name: value.SerializeToString(deterministic=True) for value in found}


def apart(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its nodes with bodies as calls."""
    made, loaded = onnx.ModelProto(), ir.serde.deserialize_model(model)
    made.CopyFrom(model)
    del made.graph.node[:]
    call = BodyFunctions(made)
    for node, proto in zip(loaded.graph, model.graph.node, strict=True):
        made.graph.node.append(call(node, proto) if bodies(node) else proto)
    return made


def test_onnx_infers_of_calls_what_it_infers_of_nodes() -> None:
    model = onnx.parser.parse_model(NESTED)
    calls = apart(model)
    assert [node.domain for node in calls.graph.node] == ["", DOMAIN, "", DOMAIN, "", "", ""]
    found = inferred(model)
    assert {"a", "first", "more", "s"} <= found.keys()
    assert inferred(calls) == found


@pytest.mark.parametrize("count", [2, 20])
def test_nodes_that_differ_in_bodies_alone_share_a_function(count: int) -> None:
    steps = "\n".join(
        f"x{k + 1} = If(c) <then_branch = t{k} () => (float a{k}) {{ a{k} = Relu(x{k}) }}, "
        f"else_branch = e{k} () => (float b{k}) {{ b{k} = {'Exp' if k % 2 else 'Abs'}(x{k}) }}>"
        for k in range(count)
    )
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,M] x0, bool c) => (float[N,M] x{count}) {{ {steps} }}'
    calls = apart(onnx.parser.parse_model(text))
    assert len(calls.functions) == 1
    assert [list(node.input) for node in calls.graph.node] == [["c", f"x{k}"] for k in range(count)]
