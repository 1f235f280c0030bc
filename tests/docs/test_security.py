"""docs/security.md names tests that exist, at least one for each promise."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    for row in rows:
        promise, _, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        named = re.findall(r"`([^`]*?)(?:::(test_\w+))?`", tests)
        assert named, promise
        place = ""
        for path, function in named:
            place = path or place
            text = (ROOT / place).read_text(encoding="utf-8")
            assert f"def {function or 'test_'}" in text, (promise, place, function)
