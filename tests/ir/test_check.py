from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.ir import check, load, to_proto

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared")) / "models"
REAL = sorted(SHARED.glob("third_party/*.onnx")) + sorted(SHARED.glob("skeletons/*.gz"))


def linear(**changes: list[object]) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.zeros((64, 16), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, changes.get("x", ["N", 64]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, changes.get("y"))],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.mark.parametrize("shape", [["N", 64], [-1, 64], [0, 64], [None, None], ["a", "b", 64], None])
def test_open_dimensions_in_any_writing_are_fine(shape: list[object] | None) -> None:
    model = load(linear(x=shape))
    before = to_proto(model)
    check(model)
    assert to_proto(model) == before


def test_the_cost_does_not_grow_with_the_weights() -> None:
    model = load(linear())

    def read() -> ir.Tensor:  # type: ignore[type-arg]
        raise AssertionError("the weights were read")

    big = ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape([64, 1 << 28]), name="w")
    weight = model.graph.initializers["w"]
    weight.const_value, weight.shape = big, ir.Shape([64, 1 << 28])
    tracemalloc.start()
    try:
        check(model)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="no shared models")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_models_pass(path: Path) -> None:
    if path.suffix != ".gz":
        check(load(path))
        return
    proto = onnx.load_from_string(gzip.decompress(path.read_bytes()))
    for tensor in proto.graph.initializer:
        if tensor.doc_string == "stripped":
            tensor.raw_data = bytes(4 * int(np.prod(tensor.dims)))
    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) < 60 << 20:
        check(load(proto))
