"""Sessions of onnxruntime and single runs."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from chanc.errors import MissingDependencyError, ModelError, RunError
from chanc.ir import load, save, to_bytes
from chanc.ir.save import PROTOBUF_BYTES, detached

Array = np.ndarray[Any, Any]


class LoadError(ModelError):
    """onnxruntime can't load a model: an operator, a type or a version that it doesn't know."""


CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
_ONLY_FATAL = 4
_OPSET_LIMIT = re.compile(r"ONNX Runtime only \*guarantees\*.*?till opset (\d+)", re.DOTALL)
_IR_LIMIT = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_CPP_PLACE = re.compile(r"^(\[ONNXRuntimeError\] : \d+ : \w+ : )?(/\S+:\d+ .*?\) (?=[A-Z]))?")


def onnxruntime() -> Any:
    """The onnxruntime module, without telemetry. Raises: MissingDependencyError."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        module = importlib.import_module("onnxruntime")
        module.InferenceSession  # noqa: B018  (onnxruntime and onnxruntime-gpu share a folder; removing one breaks the other)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            "onnxruntime is needed to run a model and can't be imported: pip install 'chanc[cpu]' (or 'chanc[gpu]')"
        ) from error
    return module


def session(model: Any, *, exact: bool = False, threads: int = 0, device: str = "cpu") -> Any:
    """An `onnxruntime.InferenceSession` of `model`: a path, the bytes of one, or anything that `chanc.ir.load` takes.

    Args:
        model: the model; over 2 GB it goes through a temporary file.
        exact: turn graph optimisation off, so that the operators run as they are written.
        threads: threads inside an operator; 0 leaves it to onnxruntime.
        device: "cpu", "cuda" or another execution provider (`provider`).

    Raises:
        LoadError: onnxruntime refuses the model (its own first line is given).
        MissingDependencyError: no onnxruntime, or onnxruntime would run on the CPU in place of what was asked for.
        RunError: no execution provider is called so.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    options.intra_op_num_threads = threads
    if exact:
        # Such a session judges, by a run or two: threads that spin while they wait would cost as much again, and so
        # would weights that are packed for many runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = provider(device)
    _require_provider(wanted, ort.get_available_providers())
    opened = _open(ort, model, options, list(dict.fromkeys((wanted, CPU))), in_place=exact and wanted == CPU)
    _require_provider(wanted, opened.get_providers())
    return opened


def provider(name: str) -> str:
    """The execution provider of that name, in full or as in "cpu", "cuda", "openvino". Raises: RunError."""
    known: list[str] = onnxruntime().get_all_providers()
    found = [full for full in known if name.lower() in (full.lower(), full.removesuffix(_SUFFIX).lower())]
    if not found:
        here = [full.removesuffix(_SUFFIX).lower() for full in onnxruntime().get_available_providers()]
        raise RunError(f"onnxruntime has no execution provider {name!r}; here it has {', '.join(here)}")
    return found[0]


def run(
    model: Any, feeds: Mapping[str, Array], *, exact: bool = False, threads: int = 0, device: str = "cpu"
) -> list[Array]:
    """The outputs of `model` for `feeds`, {input name: array}, in the order of the graph's outputs.

    `model` may also be a session, for several runs. Options and errors are those of `session`; ModelError also for
    feeds that don't fit the inputs and for a run that fails.
    """
    opened = model if hasattr(model, "get_inputs") else session(model, exact=exact, threads=threads, device=device)
    weights: dict[str, Array] = getattr(opened, "weights", {})
    _check_feeds(opened, feeds, weights)
    arrays = {name: np.asarray(value) for name, value in feeds.items()}  # arithmetic makes a number of an array []
    try:
        outputs = [_array(output) for output in opened.run(None, {**weights, **arrays})]
    except Exception as error:
        raise ModelError(f"onnxruntime can't run the model: {_line(error)}") from error
    return outputs


def _array(output: Any) -> Array:
    """An output as an array: a map, or a list of maps with the same keys, gives its values in the order of the keys."""
    if isinstance(output, dict):
        return np.array([output[key] for key in sorted(output)])
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([_array(entry) for entry in output])
    result: Array = output
    return result


def _open(ort: Any, model: Any, options: Any, providers: list[str], *, in_place: bool) -> Any:
    try:
        if isinstance(model, (str, os.PathLike)):
            _require_file(Path(model))
            return ort.InferenceSession(os.fspath(model), options, providers=providers)
        if isinstance(model, bytes):
            return ort.InferenceSession(model, options, providers=providers)
        if isinstance(model, onnx.ModelProto) and not _has_external(model):
            return ort.InferenceSession(model.SerializeToString(), options, providers=providers)
        loaded = model if isinstance(model, ir.Model) else load(model)  # onnxruntime checks what it is given
        if in_place:
            return _open_in_place(ort, loaded, options)
        if _bytes_of(loaded) < PROTOBUF_BYTES // 2:
            return ort.InferenceSession(to_bytes(loaded), options, providers=providers)
        with tempfile.TemporaryDirectory(prefix="chanc-") as folder:
            save(loaded, Path(folder) / "model.onnx")
            return ort.InferenceSession(str(Path(folder) / "model.onnx"), options, providers=providers)
    except (ModelError, OSError):
        raise
    except Exception as error:
        raise LoadError(f"onnxruntime {ort.__version__} can't load the model: {_reason(error)}") from error


def _open_in_place(ort: Any, model: ir.Model, options: Any) -> Any:
    """A session on the CPU that reads a model's large weights where they are: they are inputs, which `run` feeds.

    Initializers it would copy, whoever holds them. Not for a session whose runs are timed: kernels don't know that
    these inputs stay the same.
    """
    data, arrays = detached(model)
    opened = ort.InferenceSession(data, options, providers=[CPU])
    opened.weights = {name: np.require(array, requirements=["C", "ALIGNED"]) for name, array in arrays.items()}
    return opened


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such file")


def _has_external(model: onnx.ModelProto) -> bool:
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


def _bytes_of(model: ir.Model) -> int:
    values = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in values if tensor is not None)


def _require_provider(wanted: str, found: list[str]) -> None:
    # onnxruntime falls back to the CPU without a word where the CUDA libraries or a device are missing.
    if wanted in found:
        return
    advice = "pip install 'chanc[gpu]' in place of 'chanc[cpu]', on a machine with its CUDA libraries"
    if "cuda" not in wanted.lower():
        advice = "it takes an onnxruntime that was built with it"
    raise MissingDependencyError(
        f"{wanted} is not available, onnxruntime would run on {', '.join(found) or 'nothing'}: {advice}"
    )


def _check_feeds(opened: Any, feeds: Mapping[str, Array], weights: Mapping[str, Array]) -> None:
    inputs = {value.name for value in opened.get_inputs()} - weights.keys()
    optional = {value.name for value in opened.get_overridable_initializers()}
    missing, unknown = sorted(inputs - feeds.keys()), sorted(feeds.keys() - inputs - optional)
    if missing or unknown:
        text = f"no value for input {missing[0]!r}" if missing else f"{unknown[0]!r} is not an input"
        raise ModelError(f"{text}; the model's inputs are {sorted(inputs)}")


def _reason(error: Exception) -> str:
    opset, version = _OPSET_LIMIT.search(str(error)), _IR_LIMIT.search(str(error))
    if opset:
        return f"it takes opsets up to {opset.group(1)}, the model has a newer one"
    if version:
        return f"it takes IR versions up to {version.group(2)}, the model has {version.group(1)}"
    return _line(error)


def _line(error: Exception) -> str:
    return _CPP_PLACE.sub("", " ".join(str(error).split()))[:400] or type(error).__name__
