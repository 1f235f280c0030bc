from __future__ import annotations

import importlib.util
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
