"""One comparison for every operator: a one-node graph in onnxruntime and as a generated module."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")


def graph_of(
    op: str, inputs: tuple[Any, ...], opset: int, outs: int, attrs: dict[str, Any], free: bool, domain: str
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    names, values, initializers, feeds = [], [], [], {}
    for index, given in enumerate(inputs):
        name = "" if given is None else f"in{index}"
        names.append(name)
        if isinstance(given, tuple):  # ("const", array): the graph holds it as an initializer
            initializers.append(numpy_helper.from_array(np.asarray(given[1]), name))
        elif given is not None:
            array = np.asarray(given)
            shape = [f"d{index}_{axis}" for axis in range(array.ndim)] if free else array.shape
            values.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
            feeds[name] = array
    outputs = [f"out{index}" for index in range(outs)]
    node = helper.make_node(op, names, outputs, name="the_node", domain=domain, **attrs)
    graph = helper.make_graph(
        [node], "g", values, [helper.make_empty_tensor_value_info(o) for o in outputs], initializers
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=min(8 if opset < 22 else 10, 10))
    return onnx.shape_inference.infer_shapes(model, data_prop=True), feeds


def session(model: onnx.ModelProto) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def compare(model: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float = 2e-6) -> Any:
    """Both run; every output has the same shape and dtype, and the values agree. Returns what was built."""
    from chanc.backends.torch import build

    built = build(ir.serde.deserialize_model(model))
    with torch.no_grad():
        got = built.module(*[torch.from_numpy(np.array(array)) for array in feeds.values()])
    got = [got] if isinstance(got, torch.Tensor) else list(got)
    want = session(model).run(None, feeds)
    assert len(got) == len(want)
    for ours, theirs in zip(got, want, strict=True):
        assert tuple(ours.shape) == theirs.shape, built.source
        assert str(ours.dtype).removeprefix("torch.") == str(theirs.dtype), built.source
        scale = max(float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)), 1.0) if theirs.dtype.kind == "f" else 1
        np.testing.assert_allclose(ours.numpy() / scale, theirs / scale, rtol=0, atol=tolerance, err_msg=built.source)
    return built


@pytest.fixture
def agrees() -> Callable[..., Any]:
    """agrees("Relu", x, opset=13): compare a one-node graph; keyword `free` leaves every size open."""

    def check(
        op: str, *inputs: Any, opset: int = 17, outs: int = 1, free: bool = False, domain: str = "",
        tolerance: float = 2e-6, **attrs: Any,
    ) -> Any:  # fmt: skip
        model, feeds = graph_of(op, inputs, opset, outs, attrs, free, domain)
        return compare(model, feeds, tolerance)

    return check


@pytest.fixture
def refused() -> Callable[..., str]:
    """refused("If", ...): the one-node graph is refused; returns the message."""

    def check(
        op: str, *inputs: Any, opset: int = 17, outs: int = 1, free: bool = False, domain: str = "", **attrs: Any
    ) -> str:
        from chanc.backends.torch import build
        from chanc.errors import ModelError

        model, _ = graph_of(op, inputs, opset, outs, attrs, free, domain)
        with pytest.raises(ModelError) as caught:
            build(ir.serde.deserialize_model(model))
        return str(caught.value)

    return check


@pytest.fixture
def matches() -> Callable[..., Any]:
    """matches(model_proto, feeds): compare a whole graph."""
    return compare
