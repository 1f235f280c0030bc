"""The example of a rule for a custom operator, as a user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "03_custom_operator.py"


def test_it_pins_without_and_resizes_with_rules():
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("without a rule: w_1 16 no rule for com.example::ChannelGate") for line in lines)
    assert any(line.startswith("with rules:") and "w_1 16 may change" in line for line in lines)
    resized, fresh = lines[-2:]
    assert "channels = 8" in resized
    assert float(resized.rsplit(" ", 1)[1]) < 1e-5
    assert fresh == "from scratch:   8 gains from 0.0 to 0.0"
