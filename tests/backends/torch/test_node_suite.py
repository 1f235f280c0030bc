"""ONNX's own cases of one node, with the outputs that its reference wrote down: every one that is emitted is right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from chanc.backends.torch import build
from chanc.errors import ModelError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.nightly

# Case's beginning -> why its numbers are not compared
NOT_COMPARED = {
    "test_bernoulli": "random",
    "test_training_dropout": "random",
    "test_attention_causal_boolmask_nan_robustness": "rows that a mask empties: PyTorch gives NaN",
    "test_resize_downsample_scales_linear_align_corners": "onnxruntime and PyTorch differ from the reference",
    "test_resize_downsample_scales_cubic_align_corners": "onnxruntime and PyTorch differ from the reference",
    "test_identity_sequence": "a sequence",
    "test_identity_opt": "an optional",
}
LEAST = 1041


def arrays(folder: Path, kind: str) -> list[np.ndarray]:
    found = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{index}.pb").read_bytes())
        found.append(numpy_helper.to_array(tensor))
    return found


def cases():
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind="node"):
        if case.model_dir is not None:
            folder = Path(case.model_dir)
            sets = folder / "test_data_set_0"
            yield case.name, onnx.load(os.fspath(folder / "model.onnx")), arrays(sets, "input"), arrays(sets, "output")
        else:
            inputs, outputs = case.data_sets[0]
            yield case.name, case.model, list(inputs), list(outputs)


def plain(values) -> bool:
    """Whether PyTorch takes the arrays from NumPy and computes with their dtypes on the CPU."""
    return all(
        (isinstance(v, np.ndarray) and v.dtype.kind in "fib") or getattr(v, "dtype", None) == np.uint8 for v in values
    )


def difference(module, inputs, outputs) -> str:
    with torch.no_grad():
        got = module(*[torch.from_numpy(np.array(array)) for array in inputs])
    for ours, theirs in zip([got] if isinstance(got, torch.Tensor) else got, outputs, strict=True):
        if tuple(ours.shape) != theirs.shape or str(ours.dtype).removeprefix("torch.") != str(theirs.dtype):
            return f"{ours.dtype} {tuple(ours.shape)}, not {theirs.dtype} {theirs.shape}"
        half = theirs.dtype == np.float16
        near = {"rtol": 1e-2 if half else 1e-3, "atol": 1e-2 if half else 1e-5, "equal_nan": True}
        if not np.allclose(ours.detach().double().numpy(), theirs.astype(np.float64), **near):
            return "values"
    return ""


def test_every_emitted_case_is_right():
    right, wrong = 0, {}
    for name, proto, inputs, outputs in cases():
        if name.startswith(tuple(NOT_COMPARED)) or not plain([*inputs, *outputs]):
            continue
        try:
            built = build(ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto, data_prop=True)))
        except ModelError:
            continue
        found = difference(built.module, inputs, outputs)
        right += not found
        wrong |= {name: found} if found else {}
    assert not wrong
    assert right >= LEAST
