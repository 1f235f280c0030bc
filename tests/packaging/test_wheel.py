"""The wheel and the sdist, outside of the checkout: files, commands, types; from a tree whose links are no links."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Call = Callable[..., str]

pytestmark = pytest.mark.nightly


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "chanc").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == there


def test_it_works_from_an_empty_folder(installed: Path, call: Call, tmp_path: Path) -> None:
    chanc = [installed / "python", "-m", "chanc"]
    where = call(installed / "python", "-c", "import chanc; print(chanc.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    call(
        *chanc, "export", "zoo:resnet18", "--width", "8", "--channels", "1", "--size", "8", "-o", "r.onnx", cwd=tmp_path
    )
    call(*chanc, "rewrite", "r.onnx", "-o", "half.onnx", "--scale", "0.5", "--trace", "t.json", cwd=tmp_path)
    assert call(*chanc, "verify", "r.onnx", "half.onnx", "--trace", "t.json", cwd=tmp_path)
    call(*chanc, "search", "r.onnx", "--algo", "random", "--trials", "1", "--epochs", "1", "--limit-train", "100",
         "--quiet", cwd=tmp_path)  # fmt: skip
    assert "<script" in (tmp_path / "run" / "report.html").read_text()


def test_a_user_s_script_is_typed(installed: Path, call: Call, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = shutil.copy(Path(__file__).with_name("user_script.py"), tmp_path)
    call(sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python", script, cwd=tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text('import chanc\nchanc.rewrite("m.onnx", scale="a half").trace.group\n')
    found = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed / "python"),
                            str(wrong)], cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
    assert "[arg-type]" in found.stdout
    assert "[attr-defined]" in found.stdout
    said = call(installed / "python", script, tmp_path, cwd=tmp_path)
    assert said.splitlines()[-1].endswith("True True")
