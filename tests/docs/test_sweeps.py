"""docs/sweeps.md: every command on the page can be typed, and makes the cells that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chanc.cli.search import of_the_user
from chanc.cli.sweep import command, plan

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
TYPED = re.findall(r"^    (?:\w+=\S+ )*chanc sweep (.*)", PAGE, re.MULTILINE)
TABLE = [f"net.onnx {options}" for options in re.findall(r"^\|[^|]*\| `(--[^`]*)` \|", PAGE, re.MULTILINE)]
OF_THE_SWEEP = ("out", "resume", "attempts", "workers", "ray", "slurm", "time_limit", "dims", "shapes")


def test_the_page_has_commands() -> None:
    assert len(TYPED) >= 8
    assert len(TABLE) >= 14


@pytest.mark.parametrize("line", [*TYPED, *TABLE])
def test_a_command_makes_as_many_cells_as_its_values(line: str) -> None:
    context = command.make_context("sweep", shlex.split(line))
    given = {name: value for name, value in context.params.items() if name not in ("model", *OF_THE_SWEEP)}
    seeds, axes = given.pop("seeds"), given.pop("axes")
    with context.scope():
        todo, _ = plan(of_the_user(given), axes, seeds)
    varied = re.findall(r"(?:--[a-z-]+ |=)([^\s;,=]+(?:,[^\s;,=]+)+)", re.sub(r"--compare \S+", "", line))
    cells = seeds
    for values in varied:
        cells *= values.count(",") + 1
    assert len({cell.name for cell in todo}) == len(todo) == cells
