"""The rows of docs/reliability.md, tried anew: nothing may be lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.nightly
@pytest.mark.parametrize("row", ["search", "train", "sweep", "disks", "refused", "races", "kernels", "nodes", "groups"])
def test_nothing_is_lost(tmp_path: Path, row: str) -> None:
    if row in ("disks", "refused") and subprocess.run(["unshare", "--map-root-user", "--mount", "true"]).returncode:
        pytest.skip("no user may mount a file system here")
    command = [sys.executable, HOME / "reliability.py", "--rows", row, "--results", tmp_path / "rows.json"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "rows.json").read_text())[row]
    assert measured["held"] == measured["tried"] > 3
