"""What a run ran with, for the record."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import numpy as np

from chanc.files import Json

PACKAGES = ("chanc", "torch", "onnx", "onnx-ir", "onnxruntime", "numpy")


def environment(model: object, command: Sequence[str]) -> dict[str, Json]:
    """What a run ran with, for the record: two runs of the same settings agree bit by bit where this agrees too.

    Versions, threads, the CPU's instructions (SIMD) that torch and NumPy use, the BLAS libraries with their kernels,
    and the precision of float32 products.
    """
    name = os.fspath(model) if isinstance(model, str | os.PathLike) else type(model).__name__
    return {
        "model": str(name),
        "command": list(command),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}},
        **_arithmetic(),
        "blas": _blas(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _arithmetic() -> dict[str, Json]:
    try:
        import torch
    except ImportError:
        return {}
    return {
        "threads": torch.get_num_threads(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "numpy_simd": _numpy_simd(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _numpy_simd() -> str:
    """The instructions that NumPy found on this CPU, beyond those that it takes for granted."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return " ".join(map(str, found)) or "baseline"


def _blas() -> dict[str, Json]:
    """The linear algebra of torch and of NumPy: library, version, and of NumPy's also kernel and threads."""
    return {"torch": _torch_blas(), "numpy": _numpy_blas()}


def _torch_blas() -> str:
    try:
        import torch
    except ImportError:
        return ""
    lines = (line.strip(" -") for line in torch.__config__.show().splitlines())
    return ", ".join(line for line in lines if "Math Kernel Library" in line or "MKL-DNN" in line or "OpenBLAS" in line)


def _numpy_blas() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        built = cast("dict[str, str]", np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {}))
        return " ".join([built.get("name", ""), built.get("version", ""), os.environ.get("OPENBLAS_CORETYPE", "")])
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # Others, SciPy's for one, are loaded when somebody asks for them, and compute nothing here.
    own = [library for library in libraries if "numpy" in library["filepath"]] or libraries
    return ", ".join(f"{one['internal_api']} {one['version']} {one.get('architecture')}, {one['num_threads']} threads"
                     for one in own)  # fmt: skip
