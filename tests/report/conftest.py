from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def runs() -> ModuleType:
    """The helper module beside this file: made-up runs and analysed models."""
    spec = importlib.util.spec_from_file_location("report_runs", Path(__file__).with_name("runs.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_runs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _sweep(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_sweep(tmp_path_factory.mktemp("report") / "sweep")


@pytest.fixture
def sweep(_sweep: Path, tmp_path: Path) -> Path:
    """The folder of a made-up sweep, the test's own."""
    return shutil.copytree(_sweep, tmp_path / "sweep")
