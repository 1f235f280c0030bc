from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.backends import ort
from chanc.errors import MissingDependencyError, ModelError, RunError
from chanc.ir import load, to_bytes

pytest.importorskip("onnxruntime")


def linear(opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((64, 16)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 16]) for name in ("y", "h")],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def feeds() -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)}


def test_every_kind_of_model_gives_the_same_outputs(tmp_path: Path) -> None:
    proto = linear()
    onnx.save(proto, tmp_path / "a.onnx")
    onnx.save(linear(), tmp_path / "b.onnx", save_as_external_data=True, location="b.data", size_threshold=0)
    hidden = feeds()["x"].astype(np.float64) @ numpy_helper.to_array(proto.graph.initializer[0]).astype(np.float64)
    sources = [
        tmp_path / "a.onnx",
        str(tmp_path / "b.onnx"),
        proto,
        load(proto),
        load(tmp_path / "b.onnx"),
        ir.load(tmp_path / "b.onnx"),
        to_bytes(load(proto)),
        ort.session(proto),
    ]
    for source in sources:
        for exact in (False, True):
            outputs = ort.run(source, feeds(), exact=exact, threads=1)
            assert [o.shape for o in outputs] == [(3, 16), (3, 16)]
            np.testing.assert_allclose(outputs[1], hidden, atol=1e-5)
            np.testing.assert_array_equal(outputs[0], np.maximum(outputs[1], 0))


def test_large_models_go_through_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["chanc.backends.ort.run"]
    monkeypatch.setattr(module, "PROTOBUF_BYTES", 100)
    expected = ort.run(linear(), feeds())
    monkeypatch.setattr(module, "to_bytes", lambda model: pytest.fail("serialized"))
    np.testing.assert_array_equal(ort.run(load(linear()), feeds())[0], expected[0])


def test_exact_leaves_the_graph_as_it_is() -> None:
    options = ort.session(linear(), exact=True, threads=3).get_session_options()
    assert options.graph_optimization_level.name == "ORT_DISABLE_ALL"
    assert options.intra_op_num_threads == 3


def test_a_session_that_judges_reads_large_weights_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["chanc.ir.save"], "LARGE_BYTES", 64 * 16 * 4)
    model, weight = load(linear()), np.ones((64, 16), np.float32)
    model.graph.initializers["w"].const_value = ir.Tensor(weight, name="w")
    model.graph.register_initializer(ir.Value(name="unread", const_value=ir.Tensor(np.ones((64, 16), np.float32))))
    opened = ort.session(model, exact=True)
    weight[:] = 2  # onnxruntime has no copy of it
    np.testing.assert_allclose(ort.run(opened, feeds())[1], feeds()["x"] @ weight, atol=1e-5)
    with pytest.raises(ModelError, match=r"no value for input 'x'; the model's inputs are \['x'\]"):
        ort.run(opened, {})


@pytest.mark.parametrize(
    ("opset", "ir_version", "match"),
    [(28, 14, "it takes IR versions up to"), (27, 13, "it takes opsets up to"), (28, 8, "it takes opsets up to")],
)
def test_models_newer_than_the_runtime(opset: int, ir_version: int, match: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if tuple(map(int, runtime.__version__.split(".")[:2])) > (1, 31):
        pytest.skip("a newer runtime may take it")
    with pytest.raises(ModelError, match=match):
        ort.session(linear(opset, ir_version))


def test_wrong_feeds_and_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no value for input 'x'"):
        ort.run(linear(), {})
    with pytest.raises(ModelError, match="'z' is not an input"):
        ort.run(linear(), {**feeds(), "z": np.zeros(1)})
    for wrong in (np.zeros((3, 63), np.float32), np.zeros((3, 64), np.float64), np.zeros(64, np.float32)):
        with pytest.raises(ModelError, match="onnxruntime can't run the model") as caught:
            ort.run(linear(), {"x": wrong})
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="no such file"):
        ort.run(tmp_path / "missing.onnx", {})
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="can't load the model"):
        ort.session(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="can't load the model") as refused:
        ort.session(b"junk")
    assert "\n" not in str(refused.value)


def test_cuda_is_never_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime")
    with pytest.raises(RunError, match=r"onnxruntime has no execution provider 'tpu'; here it has .*cpu"):
        ort.session(linear(), device="tpu")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        with pytest.raises(MissingDependencyError, match="CUDAExecutionProvider is not available"):
            ort.session(linear(), device="cuda")
    # The GPU build lists CUDA on a machine without one; only the session knows.
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    original = runtime.InferenceSession
    monkeypatch.setattr(
        runtime, "InferenceSession", lambda model, options, providers: original(model, options, providers=providers[1:])
    )
    with pytest.raises(MissingDependencyError, match="onnxruntime would run on CPUExecutionProvider"):
        ort.session(linear(), device="cuda")


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("onnxruntime"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'chanc\[cpu\]'"):
        ort.session(linear())


def test_imports_are_late_and_telemetry_is_off(fresh) -> None:
    code = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None)\n"
        "from chanc.backends import ort\n"
        "assert 'onnxruntime' not in sys.modules and 'torch' not in sys.modules\n"
        "from chanc.backends.ort.run import onnxruntime\n"
        "onnxruntime()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    done = fresh(code)
    assert done.returncode == 0, done.stderr


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError):
        ort.run(linear(), {"x": np.zeros((3, 63), np.float32)})
    with pytest.raises(ModelError):
        ort.session(linear(27, 13))
    assert capfd.readouterr() == ("", "")
