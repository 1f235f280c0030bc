from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.errors import ModelError
from chanc.ir import like, load, to_proto, verify

gs = pytest.importorskip("onnx_graphsurgeon")

from chanc.ir.graphsurgeon import from_gs, to_gs  # noqa: E402

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared")) / "models"
REAL = sorted(SHARED.glob("third_party/*.onnx")) + sorted(SHARED.glob("skeletons/*.gz"))
FLOAT = TensorProto.FLOAT


def info(name: str, shape: list[object] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def rich() -> onnx.ModelProto:
    """One model with most of what graphsurgeon loses or stumbles over."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((16, 4, 3, 3)).astype(np.float32), "w")
    weight.doc_string = "filters"
    weight.metadata_props.add(key="from", value="layer1")
    both = numpy_helper.from_array(rng.standard_normal(16).astype(np.float32), "both")
    spare = numpy_helper.from_array(np.ones(3, np.float32), "spare")
    nibbles = helper.make_tensor("q", TensorProto.INT4, [3], [1, -2, 3])
    scale = numpy_helper.from_array(np.float32(0.5), "scale")
    bodies = [
        helper.make_graph([helper.make_node(op, ["c", "both"], [op])], op, [], [info(op)]) for op in ("Add", "Mul")
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", doc_string="first", pads=[1, 1, 1, 1]),
        helper.make_node("If", ["flag"], ["i"], "if", then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["d"], "dq"),
        helper.make_node("Dropout", ["i"], ["o", "mask"], "drop"),
        helper.make_node("me.Twice", ["o"], ["y"], "twice", domain="com.me", words=["a", "b"]),
    ]
    nodes[4].op_type = "Twice"
    nodes[4].attribute.append(onnx.AttributeProto(name="none", type=onnx.AttributeProto.INTS))
    nodes[0].metadata_props.add(key="group", value="a")
    graph = helper.make_graph(
        nodes,
        "net",
        [info("x", ["N", 4, 8, None]), helper.make_tensor_value_info("flag", TensorProto.BOOL, []), info("both", [16])],
        [info("y"), info("d", [3])],
        [weight, both, spare, nibbles, scale],
        doc_string="a graph",
        value_info=[info("c", ["N", 16, 8, None])],
    )
    graph.metadata_props.add(key="graph", value="meta")
    twice = helper.make_function(
        "com.me", "Twice", ["p"], ["r"], [helper.make_node("Add", ["p", "p"], ["r"])], [helper.make_opsetid("", 21)]
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.me", 1)],
        ir_version=10,
        functions=[twice],
        producer_name="me",
        producer_version="3",
        doc_string="a model",
    )
    model.domain, model.model_version = "org.me", 7
    model.metadata_props.add(key="author", value="someone")
    return model


def bits(tensor: ir.TensorProtocol) -> np.ndarray[Any, Any]:
    array = np.ascontiguousarray(tensor.numpy())
    return array.view(f"V{array.itemsize}")


def same(a: ir.Model, b: ir.Model) -> None:
    assert to_proto(a).SerializeToString(deterministic=True) == to_proto(b).SerializeToString(deterministic=True)


def test_nothing_is_lost_on_the_way_and_back() -> None:
    model = load(rich())
    before = to_proto(model)
    graph = to_gs(model)
    same(from_gs(graph), model)
    assert to_proto(model) == before
    graph.nodes[0].attrs["pads"] = [0, 0, 0, 0]
    assert to_proto(model) == before


def test_weights_are_shared_until_they_are_touched() -> None:
    model = load(rich())
    graph = to_gs(model)
    tensor = model.graph.initializers["w"].const_value
    assert from_gs(graph).graph.initializers["w"].const_value is tensor
    graph.nodes[0].inputs[1].values *= 2
    doubled = from_gs(graph).graph.initializers["w"].const_value
    assert tensor is not None
    assert doubled is not None
    np.testing.assert_array_equal(doubled.numpy(), 2 * tensor.numpy())


def test_graphsurgeon_can_export_what_it_gets() -> None:
    proto = rich()
    del proto.graph.node[4].attribute[-1]  # graphsurgeon's exporter can't write an empty list
    graph = to_gs(load(proto))
    exported = gs.export_onnx(graph)
    for output in exported.graph.output:
        output.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(exported)
    weights = {t.name: t for t in exported.graph.initializer}
    assert weights["w"].raw_data == rich().graph.initializer[0].raw_data
    assert exported.ir_version == 10


NUMERIC = sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING})


@pytest.mark.parametrize("dtype", NUMERIC, ids=TensorProto.DataType.Name)
def test_every_element_type_untouched_and_touched(dtype: int) -> None:
    if dtype not in {kind.value for kind in ir.DataType}:
        pytest.skip("onnx_ir 1.0 has no 6-bit floats")
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    tensor = helper.make_tensor("t", dtype, [6], np.array([0, 1, 1, 0, 1, 0]).astype(kind))
    output = helper.make_tensor_value_info("y", dtype, [6])
    graph = helper.make_graph([helper.make_node("Identity", ["t"], ["y"])], "g", [], [output], [tensor])
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13))
    surgeon = to_gs(model)
    same(from_gs(surgeon), model)
    constant = surgeon.nodes[0].inputs[0]
    constant.values = constant.values[::-1]
    before, after = (m.graph.initializers["t"].const_value for m in (model, from_gs(surgeon)))
    assert before is not None
    assert after is not None
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(bits(after), bits(before)[::-1])


def test_an_outer_constant_of_two_bodies_stays_one() -> None:
    proto = rich()
    del proto.graph.node[4].attribute[-1]
    model = load(gs.import_onnx(proto))
    assert set(model.graph.initializers) == {"w", "both", "q", "scale"}
    assert [len(graph.initializers) for graph in model.graphs()] == [4, 0, 0]


def test_constants_of_bodies_stay_in_them() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]> g (bool c) => (float[1] y) {
      y = If (c) < then_branch = t () => (float[1] a) <float[1] k = {1}> { a = Neg (k) },
                   else_branch = e () => (float[1] b) <float[1] k = {2}> { b = Neg (k) } > }"""
    model = load(ir.from_onnx_text(text))
    same(from_gs(to_gs(model)), model)
    again = load(gs.import_onnx(to_proto(model)))
    values = [v.const_value.numpy()[0] for g in again.graphs() for v in g.initializers.values() if v.const_value]
    assert values == [1, 2]


def test_a_fresh_graph_gets_versions_that_runtimes_take() -> None:
    x, y = gs.Variable("x", np.float32, ["N", 4]), gs.Variable("y", np.float32)
    weight = gs.Constant("w", np.ones((4, 2), np.float32))
    hidden = gs.Variable("h")
    nodes = [gs.Node("Relu", inputs=[hidden], outputs=[y]), gs.Node("MatMul", inputs=[x, weight], outputs=[hidden])]
    graph = gs.Graph(nodes, [x], [y])
    model = load(graph)
    assert (model.ir_version, dict(model.opset_imports)) == (6, {"": 11})
    assert [node.op_type for node in model.graph] == ["MatMul", "Relu"]
    assert [node.op for node in graph.nodes] == ["Relu", "MatMul"]
    verify(model)
    assert isinstance(like(model, graph), gs.Graph)


def test_edits_in_graphsurgeon_come_through() -> None:
    model = load(rich())
    graph = to_gs(model)
    conv, drop = graph.nodes[0], graph.nodes[3]
    conv.attrs["strides"] = [2, 2]
    conv.inputs.append(gs.Constant("bias", np.zeros(16, np.float32)))
    drop.attrs["seed"] = 3
    graph.metadata = "unknown attributes do no harm"
    edited = from_gs(graph)
    assert tuple(edited.graph[0].attributes.get_ints("strides")) == (2, 2)
    assert edited.graph[0].metadata_props == {"group": "a"}
    assert list(edited.graph.initializers) == ["w", "both", "spare", "q", "scale", "bias"]
    assert edited.metadata_props == {"author": "someone"}
    graph.nodes.remove(graph.nodes[2])
    graph.outputs.pop()
    assert "q" not in from_gs(graph).graph.initializers


def attribute(value: object, op: str = "Foo") -> ir.Attr:
    x, y = gs.Variable("x", np.float32, [1]), gs.Variable("y", np.float32, [1])
    graph = gs.Graph([gs.Node(op, inputs=[x], outputs=[y], attrs={"axes": value})], [x], [y])
    found: ir.Attr = from_gs(graph).graph[0].attributes["axes"]
    return found


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, "INT", 1),
        (np.int64(4), "INT", 4),
        (np.float32(0.5), "FLOAT", 0.5),
        ("text", "STRING", "text"),
        ((1, np.int32(2)), "INTS", (1, 2)),
        ([1, 2.5], "FLOATS", (1.0, 2.5)),
        (np.array([1, 2]), "INTS", (1, 2)),
        (["a", "b"], "STRINGS", ("a", "b")),
        (np.float16, "INT", 10),
        (np.dtype("int8"), "INT", 3),
    ],
)
def test_attribute_values(value: object, kind: str, expected: object) -> None:
    found = attribute(value)
    assert found.type.name == kind
    assert (tuple(found.value) if isinstance(expected, tuple) else found.value) == expected


def test_an_empty_list_takes_its_type_from_the_schema() -> None:
    assert attribute([], "Squeeze").type == ir.AttributeType.INTS


@pytest.mark.parametrize("value", [None, object(), {"a": 1}, [1, "a"], [], [None]])
def test_attributes_without_an_onnx_type(value: object) -> None:
    with pytest.raises(ModelError, match=r"Foo .*: attribute 'axes' .* has no ONNX type"):
        attribute(value)


def damage(kind: str) -> Any:
    x, y = gs.Variable("x", np.float32, [1]), gs.Variable("y", np.float32, [1])
    h = gs.Variable("h")
    nodes = [gs.Node("Relu", inputs=[x], outputs=[y])]
    if kind == "cycle":
        nodes = [gs.Node("Add", inputs=[x, y], outputs=[h]), gs.Node("Relu", inputs=[h], outputs=[y])]
    if kind == "undefined":
        nodes[0].inputs.append(h)
    if kind == "twice":
        nodes.append(gs.Node("Neg", inputs=[x], outputs=[gs.Variable("y")]))
    if kind == "two constants":
        constants = [gs.Constant("k", np.full(1, i, np.float32)) for i in range(2)]
        nodes = [gs.Node("Sum", inputs=[x, *constants], outputs=[y])]
    if kind == "objects":
        nodes = [gs.Node("Sum", inputs=[x, gs.Constant("k", np.array([{}]))], outputs=[y])]
    return gs.Graph(nodes, [x], [y])


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("cycle", "cycle"),
        ("undefined", "'h' is not defined"),
        ("twice", "compute 'y'"),
        ("two constants", "two constants .* 'k'"),
        ("objects", "constant 'k' .* can't be held"),
    ],
)
def test_broken_graphs_are_refused(kind: str, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        load(damage(kind))


def test_what_graphsurgeon_can_not_hold_is_refused() -> None:
    optional = """<ir_version: 8, opset_import: ["" : 17]>
    g (optional(tensor(float)) x) => (bool y) { y = OptionalHasElement (x) }"""
    model = ir.from_onnx_text(optional.replace("tensor(float)", "float[1]"))
    with pytest.raises(ModelError, match="'x' is of type"):
        to_gs(model)
    proto = rich()
    proto.graph.node[4].attribute.append(helper.make_attribute("many", [helper.make_tensor("t", FLOAT, [1], [1.0])]))
    with pytest.raises(ModelError, match="Twice 'twice': attribute 'many' is of type TENSORS"):
        to_gs(load(proto))


def test_bytes_and_quotes_in_texts() -> None:
    proto = rich()
    proto.graph.node[4].attribute.append(helper.make_attribute("raw", b"\xff\xfe"))
    proto.graph.node[4].name = "a\n'\";é"
    model = load(proto)
    same(from_gs(to_gs(model)), model)


def test_external_data_is_found_in_the_working_directory_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = rich()
    del proto.graph.node[4].attribute[-1]
    weight = proto.graph.initializer[0].raw_data
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="w.bin", size_threshold=1000)
    graph = gs.import_onnx(onnx.load(tmp_path / "a.onnx", load_external_data=False))
    with pytest.raises(ModelError, match=r"external data file 'w.bin' of tensor 'w' can't be read"):
        load(graph)
    monkeypatch.chdir(tmp_path)
    tensor = load(graph).graph.initializers["w"].const_value
    assert tensor is not None
    assert tensor.tobytes() == weight


def test_a_deep_chain(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    graph = helper.make_graph(nodes, "g", [info("t0", [1])], [info("t3000", [1])])
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    surgeon = to_gs(model)
    surgeon.nodes.reverse()
    same(from_gs(surgeon), model)


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="no shared models")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.nightly) if path.suffix == ".gz" else path for path in REAL],
    ids=lambda path: path.name,
)
def test_real_models(path: Path) -> None:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    proto = onnx.load_from_string(data)
    model = load(proto)
    same(from_gs(to_gs(model)), model)
    if len(proto.graph.node) < 1000:
        assert [n.op_type for n in load(gs.import_onnx(proto)).graph] == [n.op_type for n in model.graph]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_operator_examples_of_onnx() -> None:
    """Every operator's example models, at the newest operator set that is carried."""
    from onnx.backend.test.case.node import collect_testcases

    refused = 0
    for case in collect_testcases(None):
        proto = case.model
        for imports in (proto.opset_import, *(function.opset_import for function in proto.functions)):
            for entry in imports:
                entry.version = min(entry.version, 26)
        if any(entry.domain == "" and entry.version < 7 for entry in proto.opset_import):
            continue
        model = load(proto)
        assert to_proto(load(to_proto(model))) == to_proto(model)
        assert load(gs.import_onnx(proto)) is not None
        try:
            graph = to_gs(model)
        except ModelError as error:
            assert "optional" in str(error).lower() or "is of type" in str(error)  # noqa: PT017
            refused += 1
        else:
            same(from_gs(graph), model)
    assert refused < 20
