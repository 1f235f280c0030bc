"""tools/matrix.py: its cells name tests that there are, and one that can't be had is no failure."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "tools" / "matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_cells_run_tests_that_there_are(matrix: ModuleType) -> None:
    names = [cell.name for cell in matrix.CELLS]
    assert len(set(names)) == len(names)
    assert {test for cell in matrix.CELLS for test in cell.tests if not (ROOT / test).exists()} == set()


def test_a_python_that_is_not_here(matrix: ModuleType, tmp_path: Path) -> None:
    found = matrix.tried(matrix.Cell("future", "9.9"), tmp_path, "", [], [])
    assert found == ("can't be had: there is no Python 9.9", False)
    assert list(tmp_path.iterdir()) == []


def test_packages_that_can_not_be_had(matrix: ModuleType) -> None:
    with pytest.raises(matrix.CannotBeHad, match=r"^ERROR: no such wheel$"):
        matrix._had([sys.executable, "-c", "import sys; print('ERROR: no such wheel', file=sys.stderr); sys.exit(1)"])
