"""docs/guides: every command can be typed; tests/packaging/test_commands.py does each page from top to bottom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chanc.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / "guides" / f"{name}.md").read_text(encoding="utf-8")
         for name in ("only_model", "pytorch_to_pruned")}  # fmt: skip
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^    ((?:chanc|python) .*)", re.MULTILINE)


def commands(page: str) -> list[str]:
    """The lines that are typed, in order; what stands in a block of Python isn't."""
    return TYPED.findall(BLOCK.sub("", page))


@pytest.mark.parametrize("name", PAGES)
def test_its_commands_can_be_typed(name: str) -> None:
    pytest.importorskip("torch")
    lines, files = commands(PAGES[name]), dict(BLOCK.findall(PAGES[name]))
    assert len(lines) >= 6
    for line in lines:
        program, *args = shlex.split(line)
        if program == "python":
            assert args[0] in files
            compile(files[args[0]], args[0], "exec")
            continue
        command = cli.get_command(None, args[0])
        assert command is not None
        assert command.make_context(args[0], args[1:])
