"""docs/measuring.md: every command on the page can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chanc.cli import cli

PAGE = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
TYPED = re.findall(r"^    chanc (.*)", PAGE, re.MULTILINE)


def test_the_page_has_commands() -> None:
    assert len(TYPED) >= 10


@pytest.mark.parametrize("line", TYPED)
def test_a_command_can_be_typed(line: str) -> None:
    pytest.importorskip("torch")
    name, *args = shlex.split(line)
    command = cli.get_command(None, name)
    assert command is not None
    assert command.make_context(name, args).params["model"] in ("model.onnx", "speech.onnx")
