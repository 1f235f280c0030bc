"""Each framework's own exporter, where its packages are.

Interpreters with them lie in the folder CHANC_FRONTENDS as `benchmarks/frameworks.py --venvs FOLDER` makes them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chanc

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

FOLDER = Path(__file__).parents[2] / "benchmarks"
VENVS = Path(os.environ.get("CHANC_FRONTENDS", "no folder"))
TRANSPOSES = {"keras-tensorflow": 1, "keras-torch": 1, "keras-jax": 1, "SavedModel": 1, "tflite": 1, "flax": 1}
"""Those at the inputs of frameworks that keep channels last; the others have none."""
NAMES = (*TRANSPOSES, "torch", "torch.export", "equinox", "paddle", "transformers", "scikit-learn")


@pytest.fixture(scope="module")
def frameworks() -> Iterator[Any]:
    """The script as a module; `coverage`, which it imports, is benchmarks/coverage.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "coverage", raising=False)
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("frameworks")
        for name in ("coverage", "frameworks"):
            sys.modules.pop(name, None)


@pytest.mark.nightly
def test_every_road_is_listed(frameworks):
    assert set(NAMES) == set(frameworks.ROADS)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_habits_of_keras(backend, frameworks, tmp_path, monkeypatch):
    python = VENVS / backend / "bin" / "python"
    if not python.exists():
        pytest.skip(f"CHANC_FRONTENDS names no folder with {backend}/bin/python")
    monkeypatch.chdir(frameworks.NETWORKS)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    done = chanc.export("keras:keras_resnet:habits", tmp_path / "m.onnx", python=str(python))
    assert list(done.inputs.values()) == [("batch", 8, 8, 3), ("batch", 4)]
    assert list(done.outputs.values()) == [("batch", 3), ("batch", 2)]
    model = chanc.load(tmp_path / "m.onnx")
    assert [node.op_type for node in model.graph].count("BatchNormalization") == 1
    assert all(group.resizable for group in chanc.analyze(model).groups if "graph" not in group.reason)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_exported_with_its_norms(name, frameworks, tmp_path, monkeypatch):
    road = frameworks.ROADS[name]
    python = VENVS / road.home / "bin" / "python"
    if road.home and not python.exists():
        pytest.skip(f"CHANC_FRONTENDS names no folder with {road.home}/bin/python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    row = frameworks.Row(name)
    frameworks.exported(row, road, str(python) if road.home else None, tmp_path, tmp_path / "m.onnx")
    frameworks.described(row, tmp_path / "m.onnx")
    assert row.batch == "batch"
    assert row.difference < 1e-5
    assert row.transposes == TRANSPOSES.get(name, 0)
    assert row.norms == (0 if name in ("tflite", "scikit-learn") else 15)
    assert row.share > 0.99
