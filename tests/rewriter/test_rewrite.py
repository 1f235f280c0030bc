"""What a rewrite keeps: element types, texts, ties, the caller's model and its kind."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.numpy_helper as nh
import onnx_ir as ir
import pytest

import chanc
from chanc.analysis import analyze
from chanc.errors import ModelError
from chanc.ir import to_proto
from chanc.oracles import check_shrink, check_widen, differences
from chanc.rewriter import TRANSFERS, rewrite
from chanc.testing.builders import build

RNG = np.random.default_rng(0)
TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "double": np.float64}

CHAIN = """
a = Conv <pads = [2, 2, 2, 2]> (x, w1, b1)
n = BatchNormalization (a, gamma, beta, mean, var)
r = Relu (n)
y = Conv (r, w2)
"""


def chain(kind: str, dtype) -> onnx.ModelProto:
    shapes = {"w1": (8, 3, 5, 5), "b1": (8,), "gamma": (8,), "beta": (8,), "mean": (8,), "w2": (4, 8, 1, 1)}
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    arrays["var"] = rng.uniform(0.5, 1.5, 8).astype(dtype)
    return build(f"{kind}[N,3,4,4] x", f"{kind} y", CHAIN, arrays, opset=22)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("width", [5, 12])
def test_element_types_stay(weights, kind: str, transfer: str, width: int) -> None:
    model = chain(kind, TYPES[kind])
    done = rewrite(model, {"w1": width}, transfer=transfer)
    before = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {tensor.name: tensor.data_type for tensor in done.model.graph.initializer} == before
    arrays = weights(done.model)
    assert arrays["w1"].shape == (width, 3, 5, 5)
    assert all(np.isfinite(array.astype(np.float64)).all() for array in arrays.values())
    onnx.checker.check_model(done.model, full_check=True)


@pytest.mark.parametrize("kind", TYPES)
def test_selected_values_are_the_same_to_the_bit(weights, kind: str) -> None:
    model = chain(kind, TYPES[kind])
    old, new = weights(model), weights(rewrite(model, {"w1": {"keep": [1, 2, 6]}}).model)
    for name, axis in (("w1", 0), ("b1", 0), ("gamma", 0), ("var", 0), ("w2", 1)):
        assert new[name].tobytes() == np.take(old[name], [1, 2, 6], axis).tobytes()


QUANTISED = """
d1 = DequantizeLinear <axis = 0> (q1, s1, z1)
a = Conv (x, d1)
r = Relu (a)
d2 = DequantizeLinear <axis = 0> (q2, s2, z2)
b = Conv (r, d2)
s = Relu (b)
y = Conv (s, w3)
"""


def quantised() -> onnx.ModelProto:
    arrays = {
        "q1": RNG.integers(-128, 128, (8, 3, 1, 1), dtype=np.int8), "s1": RNG.uniform(0.01, 0.1, 8).astype(np.float32),
        "z1": np.zeros(8, np.int8), "q2": RNG.integers(-128, 128, (6, 8, 1, 1), dtype=np.int8),
        "s2": RNG.uniform(0.01, 0.1, 6).astype(np.float32), "z2": np.zeros(6, np.int8),
        "w3": RNG.standard_normal((4, 6, 1, 1)).astype(np.float32),
    }  # fmt: skip
    return build("float[N,3,4,4] x", "float y", QUANTISED, arrays)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_int8_weights_stay_int8(weights, transfer: str, scale: float) -> None:
    model = quantised()
    done = rewrite(model, scale=scale, transfer=transfer)
    new = weights(done.model)
    for name, array in weights(model).items():
        assert new[name].dtype == array.dtype
    assert new["q1"].shape[0] == new["s1"].size == new["z1"].size == 8 * scale
    assert new["q2"].shape[:2] == (6 * scale, 8 * scale)


def test_int8_weights_under_the_oracles() -> None:
    """An integer can't be divided among copies: the first one keeps it."""
    assert check_shrink(quantised(), scale=0.5).operands
    assert set(check_widen(quantised(), scale=1.5).groups) == {"q1", "q2"}


SHARED = """
a = Conv (x, w1)
n = BatchNormalization (a, one, zero, zero, one)
r = Relu (n)
b = Conv (r, w2)
m = BatchNormalization (b, one, zero, zero, one)
s = Relu (m)
y = Conv (s, w3)
"""


def shared() -> onnx.ModelProto:
    shapes = {"w1": (6, 3, 1, 1), "w2": (6, 6, 1, 1), "w3": (2, 6, 1, 1)}
    ones, zeros = np.linspace(0.5, 1.5, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)
    return build("float[N,3,4,4] x", "float y", SHARED, {**shapes, "one": ones, "zero": zeros})


def test_a_vector_shared_by_two_groups_parts(weights) -> None:
    model = shared()
    done = rewrite(model, {"w1": {"keep": [0, 2]}, "w2": {"keep": [1, 3, 4, 5]}})
    inputs = {node.op_type + node.output[0]: list(node.input) for node in done.model.graph.node}
    old, new = weights(model), weights(done.model)
    for output, keep in (("n", [0, 2]), ("m", [1, 3, 4, 5])):
        _, scale, bias, mean, var = inputs[f"BatchNormalization{output}"]
        assert np.array_equal(new[scale], old["one"][keep])
        assert np.array_equal(new[var], old["one"][keep])
        assert np.array_equal(new[bias], old["zero"][keep])
        assert np.array_equal(new[mean], old["zero"][keep])
    assert check_shrink(shared(), scale=0.5).operands
    assert check_widen(shared(), scale=1.5).operands


def test_a_vector_stays_shared_where_nothing_parts_it(weights) -> None:
    new = weights(rewrite(shared(), {"w1": 6}).model)
    assert set(new) == {"w1", "w2", "w3", "one", "zero"}


TIED = """
a = Conv (x, w0)
b = Conv (a, w)
c = Relu (b)
d = Conv (c, w)
y = Conv (d, w3)
"""


def test_tied_weights_stay_tied(weights) -> None:
    """One kernel used twice: its two axes are one group, and both nodes still read one initializer."""
    model = build("float[N,3,4,4] x", "float y", TIED, {"w0": (6, 3, 1, 1), "w": (6, 6, 1, 1), "w3": (2, 6, 1, 1)})
    done = rewrite(model, {"w0": {"keep": [0, 2, 5]}})
    assert [node.input[1] for node in done.model.graph.node if node.op_type == "Conv"] == ["w0", "w", "w", "w3"]
    old, new = weights(model), weights(done.model)
    assert np.array_equal(new["w"], old["w"][[0, 2, 5]][:, [0, 2, 5]])
    assert [(o.node, o.input) for o in done.trace.operands if o.initializer == "w"] == [("b", 1), ("d", 1)]
    assert check_shrink(model, scale=0.5).operands


def decorated() -> onnx.ModelProto:
    """A network with texts wherever ONNX has room for them."""
    model = chain("float", np.float32)
    model.doc_string, model.domain, model.model_version = "a model", "org.me", 7
    model.producer_name, model.producer_version = "me", "3"
    model.metadata_props.add(key="author", value="someone")
    model.opset_import.add(domain="com.me", version=2)
    graph = model.graph
    graph.name, graph.doc_string = "net", "a graph"
    graph.metadata_props.add(key="graph", value="meta")
    for k, node in enumerate(graph.node):
        node.name, node.doc_string = f"node {k}", f"the {k}th"
        node.metadata_props.add(key="index", value=str(k))
    graph.initializer[0].doc_string = "filters"
    graph.initializer[0].metadata_props.add(key="from", value="layer1")
    graph.initializer.append(nh.from_array(np.ones(3, np.float32), "spare"))
    graph.input[0].doc_string = "images"
    graph.output[0].metadata_props.add(key="unit", value="volt")
    graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["N", 8, 4, 4]))
    graph.value_info[0].doc_string = "features"
    return model


def plainly(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model written in one way: without empty domains."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if not node.domain:
            node.ClearField("domain")
    return copy


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what chanc says of its origin."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [entry for entry in model.metadata_props if not entry.key.startswith("chanc.")]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    return copy


def without_widths(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with weights and inner shapes blanked, and what is empty left out."""
    copy = unsigned(plainly(model))
    for tensor in copy.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.ClearField("dims")
    for value in copy.graph.value_info:
        value.type.tensor_type.ClearField("shape")
    return copy


@pytest.mark.parametrize("width", [3, 8, 13])
def test_all_texts_names_and_versions_stay(width: int) -> None:
    model = decorated()
    done = rewrite(model, {"w1": width})
    assert without_widths(done.model) == without_widths(model)
    shape = done.model.graph.value_info[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["N", width, 4, 4]
    assert done.model.graph.output[0] == model.graph.output[0]


def test_a_model_proto_comes_back_and_the_callers_stays() -> None:
    model = decorated()
    before = model.SerializeToString(deterministic=True)
    done = rewrite(model, scale=0.5)
    assert isinstance(done.model, onnx.ModelProto)
    assert done.changed
    assert model.SerializeToString(deterministic=True) == before


def test_a_path_gives_a_model_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(decorated(), path)
    before, modified = path.read_bytes(), path.stat().st_mtime_ns
    for source in (path, str(path)):
        done = rewrite(source, scale=0.5)
        assert isinstance(done.model, ir.Model)
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == modified
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    chanc.save(done.model, tmp_path / "half.onnx")
    assert unsigned(onnx.load(tmp_path / "half.onnx")) == unsigned(rewrite(decorated(), scale=0.5).model)


def test_an_ir_model_comes_back_and_the_callers_stays() -> None:
    model = ir.from_proto(decorated())
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    done = rewrite(model, scale=0.5)
    assert isinstance(done.model, ir.Model)
    assert done.model is not model
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    found, expected = ir.to_proto(done.model), rewrite(decorated(), scale=0.5).model
    # A Model made by onnx_ir alone describes every initializer a second time, in value_info.
    del found.graph.value_info[:], expected.graph.value_info[:]
    assert found == expected


def test_an_analysis_stands_for_a_model() -> None:
    done = rewrite(analyze(decorated()), scale=0.5)
    assert isinstance(done.model, ir.Model)
    assert to_proto(done.model) == rewrite(decorated(), scale=0.5).model


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    for source in (3, None, tmp_path / "nothing.onnx"):
        with pytest.raises(ModelError) as error:
            rewrite(source, scale=0.5)
        assert "\n" not in str(error.value)


def test_a_plan_that_changes_nothing_says_so(plain) -> None:
    model = plain()
    for plan in (None, {}, {"w1": 8}, {"w1": {"scale": 1.0}}, {"w1": {"keep": list(range(8))}}):
        done = rewrite(model, plan)
        assert not done.changed
        assert done.trace.operands == ()
        assert plainly(done.model) == plainly(model)


def test_the_seed_and_nothing_else_decides(plain) -> None:
    one, again = (rewrite(plain(), scale=0.5, importance="random", seed=3) for _ in range(2))
    assert one.model == again.model
    assert one.trace.to_json() == again.trace.to_json()
    assert one.model != rewrite(plain(), scale=0.5, importance="random", seed=4).model


def test_a_rewrite_can_be_rewritten(plain) -> None:
    """Growing keeps the function, and shrinking back to the first copies gives the old model."""
    model = plain()
    grown = rewrite(model, {"w1": 16})
    assert all(found.error < 1e-6 for found in differences(model, grown.model))
    back = rewrite(grown.model, {"w1": {"keep": list(range(0, 16, 2))}})
    assert unsigned(plainly(back.model)) == plainly(model)


SPLITS = """
a = Conv (x, w1)
b = Conv (x, w2)
p, q = Split <axis = 1> (a, sizes)
r, s = Split <axis = 1> (b, {other})
i = Concat <axis = 1> (p, q, r, s)
y = Conv (i, w3)
"""


def splits(other: str) -> onnx.ModelProto:
    arrays = {"w1": (8, 3, 1, 1), "w2": (8, 3, 1, 1), "w3": (2, 16, 1, 1), "sizes": np.array([4, 4])}
    own = {} if other == "sizes" else {other: np.array([4, 4])}
    return build("float[N,3,4,4] x", "float y", SPLITS.format(other=other), {**arrays, **own})


def test_constants_of_one_node_change_in_place_and_nothing_is_left_over(weights) -> None:
    model = splits("mine")
    for _ in range(2):
        model = rewrite(model, {"w1#0": {"scale": 0.5}, "w2#1": {"scale": 0.5}}).model
        assert set(weights(model)) == {"w1", "w2", "w3", "sizes", "mine"}
    assert weights(model)["sizes"].tolist() == [1, 4]
    assert weights(model)["mine"].tolist() == [4, 1]


def test_constants_of_two_nodes_part(weights) -> None:
    done = rewrite(splits("sizes"), {"w1#0": 2, "w2#1": 3})
    new = weights(done.model)
    sizes = [new[node.input[1]].tolist() for node in done.model.graph.node if node.op_type == "Split"]
    assert sizes == [[2, 4], [4, 3]]
    assert check_shrink(splits("sizes"), scale=0.5).operands
    done = rewrite(splits("sizes"), {"w1#0": 2})
    new = weights(done.model)
    sizes = [new[node.input[1]].tolist() for node in done.model.graph.node if node.op_type == "Split"]
    assert sizes == [[2, 4], [4, 4]]
