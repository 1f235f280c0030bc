from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnx_ir.passes import Sequential

from chanc.analysis import analyze
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
