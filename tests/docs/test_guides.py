"""docs/guides: every command can be typed, and by night each page is done from top to bottom, as it is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
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


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAGES)
def test_it_is_done_as_printed(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for file, text in BLOCK.findall(PAGES[name]):
        (tmp_path / file).write_text(text, encoding="utf-8")
    home = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    said = ""
    for line in commands(PAGES[name]):
        program, *args = shlex.split(line)
        call = [sys.executable, *(["-m", "chanc"] if program == "chanc" else []), *args]
        done = subprocess.run(call, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said += done.stdout
    if name == "only_model":
        agreements = [float(row) for row in re.findall(r"^agreement +[\d.]+ +([\d.]+)", said, re.MULTILINE)]
        assert len(agreements) == 2
        assert min(agreements) > 0.8, said
    else:
        assert min(map(float, re.findall(r"(?:trained|fine-tuned): ([\d.]+)", said))) > 0.9, said
        assert (tmp_path / "final.onnx").stat().st_size < 0.6 * (tmp_path / "model.onnx").stat().st_size
