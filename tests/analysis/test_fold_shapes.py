from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import Sequential

from chanc.analysis import analyze
from chanc.analysis.findings import Findings
from chanc.analysis.fold_shapes import fold_shapes, settled
from chanc.analysis.run import visit_model
from chanc.backends import ort
from chanc.ir.normalize import normalize
from chanc.oracles import compare
from chanc.passes import FoldShapes, Normalize
from chanc.testing.builders import build
from chanc.testing.graphs import Graph


def folded(proto) -> ir.Model:
    model = ir.from_proto(proto)
    normalize(model)
    FoldShapes()(model)
    return model


def targets(model: ir.Model) -> list[list[int]]:
    return [node.inputs[1].const_value.numpy().tolist() for node in model.graph if node.op_type == "Reshape"]


def agree(proto, model: ir.Model, shape: tuple[int, ...]) -> None:
    feeds = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    want, have = ort.run(proto, feeds, exact=True), ort.run(model, feeds, exact=True)
    assert all(found.error <= 1e-6 for found in compare(want, have, [str(k) for k in range(len(want))]))


def shuffle(dynamic: dict[int, str]):
    graph = Graph()
    x = graph.input("x", [2, 8, 6, 4], dynamic=dynamic)
    y = x.reshape(x.dim(0), 2, 4, x.dim(2), x.dim(3)).transpose(0, 2, 1, 3, 4)
    return graph.model(y.reshape(x.dim(0), 8, x.dim(2), x.dim(3)).relu())


def test_known_sizes_become_constants(ops) -> None:
    proto = shuffle({})
    model = folded(proto)
    assert ops(model) == ["Reshape", "Transpose", "Reshape", "Relu"]
    assert targets(model) == [[2, 2, 4, 6, 4], [2, 8, 6, 4]]
    agree(proto, model, (2, 8, 6, 4))


def test_an_open_batch_stays_open(ops) -> None:
    proto = shuffle({0: "n"})
    model = folded(proto)
    assert ops(model) == ["Reshape", "Transpose", "Reshape", "Relu"]
    assert all(0 in target or -1 in target for target in targets(model))
    for batch in (1, 3):
        agree(proto, model, (batch, 8, 6, 4))


def test_open_heights_and_widths_stay_computed() -> None:
    proto = shuffle({0: "n", 2: "h", 3: "w"})
    model = folded(proto)
    for shape in ((1, 8, 5, 7), (2, 8, 4, 4)):
        agree(proto, model, shape)


def test_flatten_by_hand(ops) -> None:
    graph = Graph()
    x = graph.input("x", [2, 6, 3, 3], dynamic={0: "n"})
    proto = graph.model(x.reshape(x.dim(0), 54).gemm(4))
    model = folded(proto)
    assert ops(model) == ["Reshape", "Gemm"]
    for batch in (1, 5):
        agree(proto, model, (batch, 6, 3, 3))


def test_sizes_that_depend_on_data_stay(ops) -> None:
    proto = build("float[4,6] x", "float y", """
        hot = NonZero (x)
        count = Shape <start = 1> (hot)
        one = Constant <value = int64[1] {1}> ()
        shape = Concat <axis = 0> (one, count)
        i = Transpose (hot)
        v = GatherND (x, i)
        y = Reshape (v, shape)
    """)  # fmt: skip
    model = folded(proto)
    assert "NonZero" in ops(model)
    agree(proto, model, (4, 6))


def test_nothing_to_fold_is_said_so() -> None:
    graph = Graph()
    model = graph.ir(graph.input("x", [2, 3, 8, 8]).conv(4).relu().gap().flatten().gemm(2))
    assert not FoldShapes()(model).modified
    again = folded(shuffle({0: "n"}))
    assert not FoldShapes()(again).modified


def test_among_foreign_passes(ops) -> None:
    proto = shuffle({0: "n"})
    passes = Sequential(common.CommonSubexpressionEliminationPass(), Normalize(), FoldShapes(),
                        common.DeduplicateInitializersPass(), common.CheckerPass())  # fmt: skip
    result = passes(ir.from_proto(proto))
    assert result.modified
    assert "Shape" not in ops(result.model)
    agree(proto, result.model, (3, 8, 6, 4))


def test_a_mask_that_was_folded_is_no_trained_parameter() -> None:
    """The lower triangle of a constant size: an initializer after the folding, but none to train."""
    model = build(
        "float[2,6,6] x", "float y",
        "f = ConstantOfShape(s)\n t = Trilu<upper=0>(f)\n a = MatMul(x, w)\n y = Mul(a, t)",
        {"s": np.array([6, 6]), "w": (6, 6)},
    )  # fmt: skip
    found = analyze(model)
    assert [node.op_type for node in found.model.graph] == ["MatMul", "Mul"]
    assert found.params == 36


CHAINS = {
    "targets of an open batch": shuffle({0: "n"}),
    "targets of open sizes": shuffle({0: "n", 2: "h", 3: "w"}),
    "a kernel's shape": build(
        "float[N,3,4,4] x", "float y",
        "a = Conv(x, v)\n b = Conv(a, w)\n s = Shape(w)\n n = Gather(s, k)\n t = Concat<axis=0>(z, n)\n"
        "y = Reshape(b, t)",
        {"v": (6, 3, 1, 1), "w": (4, 6, 1, 1), "k": np.array([0]), "z": np.array([-1])},
    ),
    "a mask": build(
        "float[N,2,6,6] x", "float y",
        "f = ConstantOfShape(s)\n t = Trilu<upper=0>(f)\n a = Add(x, t)\n y = MatMul(a, w)",
        {"s": np.array([6, 6]), "w": (6, 6)},
    ),
    "a vector that is cut after it is added": build(
        "float[N,6] x", "float y",
        "t = Cast<to=1>(m)\n a = MatMul(x, w)\n b = Add(a, t)\n p, q = Split<axis=0>(t)\n"
        "c = MatMul(b, v)\n y = Add(c, p)",
        {"m": np.arange(6), "w": (6, 6), "v": (6, 3)}, opset=13,
    ),
    "a size that has a name": build(
        "float[N,4,6] x", "float y",
        "a = MatMul(x, w)\n s = Shape(a)\n p = ReduceProd(s)\n q = Div(p, k)\n"
        "t = Concat<axis=0>(q, k)\n y = Reshape(a, t)",
        {"w": (6, 8), "k": np.array([3])},
    ),
    "a vector that meets an activation": build(
        "float[N,1] x, float[N,6] z", "float y",
        "a = Mul(x, c)\n b = MatMul(z, w)\n s = Shape(a)\n d = Reshape(b, s)\n e = Add(a, d)\n y = MatMul(e, v)",
        {"c": (8,), "w": (6, 8), "v": (8, 2)},
    ),
    "a dead end": build(
        "float[N,6] x", "float y, float q",
        "a = MatMul(x, w)\n s = Shape(a)\n y = Reshape(a, s)\n b = Relu(a)\n c = MatMul(b, u)\n q = Add(a, x)",
        {"w": (6, 6), "u": (6, 5)},
    ),
    "a branch": build(
        "float[N,6] x, bool c", "float y",
        "a = MatMul(x, w)\n s = Shape(a)\n b = Reshape(a, s)\n"
        "d = If(c) <then_branch = g () => (float[N,6] e) { e = Relu(b) },"
        " else_branch = h () => (float[N,6] f) { r = Shape(b)\n f = Reshape(b, r) }>\n"
        "t = Shape(d)\n y = Reshape(d, t)",
        {"w": (6, 6)},
    ),
}  # fmt: skip


def first_visited(model: ir.Model) -> Findings:
    """The findings where a graph is folded after each visit, until there is nothing to fold."""
    findings = visit_model(model)
    while fold_shapes(model, findings):
        findings = visit_model(model)
    return findings


def told(model: ir.Model, findings: Findings) -> list[object]:
    """Nodes and constants of a model, and what was found of channels."""
    nodes = [(n.op_type, [v.name if v else "" for v in n.inputs], [v.name for v in n.outputs]) for n in model.graph]
    constants = [(name, value.const_value.numpy().tolist()) for name, value in model.graph.initializers.items()]
    layouts = {
        value.name: (layout.axes, layout.why, [(part.slots, part.labels.tolist()) for part in layout.fields])
        for value, layout in findings.layouts.items()
    }
    pins = [(labels.tolist(), pin) for labels, pin in findings.pins]
    return [nodes, constants, layouts, pins, list(map(repr, findings.parameters)), findings.label_count]


@pytest.mark.parametrize("proto", CHAINS.values(), ids=CHAINS)
def test_folded_while_it_is_visited_as_after_it(proto: onnx.ModelProto) -> None:
    one, two = ir.from_proto(proto), ir.from_proto(proto)
    normalize(one), normalize(two)
    findings, _ = settled(one)
    assert told(one, findings) == told(two, first_visited(two))


@pytest.mark.parametrize("fold", [settled, fold_shapes])
def test_what_folding_leaves_unread_goes_and_nothing_else(fold, ops) -> None:
    """A chain and the constants that it alone reads; what nobody read before stays."""
    body = """
    s = Shape (x) n = Gather (s, first) u = Unsqueeze (n, zero) t = Concat <axis = 0> (u, rest)
    y = Reshape (x, t) dead = Relu (x)
    """
    weights = {"first": np.array(0), "zero": np.array([0]), "rest": np.array([-1]), "spare": np.ones(3, np.float32)}
    model = ir.from_proto(build("float[2,8,3] x", "float[2,24] y", body, weights))
    normalize(model)
    fold(model)
    assert ops(model) == ["Reshape", "Relu"]
    assert sorted(name for name, value in model.graph.initializers.items() if not value.uses()) == ["spare"]
    assert model.graph.initializers.keys().isdisjoint({"first", "zero", "rest"})
