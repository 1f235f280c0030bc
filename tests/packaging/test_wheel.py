"""The wheel and the sdist, outside of the checkout: files, commands, types; from a tree whose links are no links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = ("chanc", "examples", "passes", "frontends", "tests", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
        "CHANGELOG.md")  # fmt: skip
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"

pytestmark = pytest.mark.nightly


def call(*words: object, cwd: Path, **extra: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1", **extra},
                          capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(kind: str, source: Path, folder: Path) -> Path:
    """A sdist or wheel, by the setuptools that is here."""
    pytest.importorskip("setuptools", minversion="77")
    said = call(sys.executable, "-c", BUILD.format(kind=kind, folder=str(folder)), cwd=source)
    return folder / said.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the sdist, which is made of a tree where the links at the root are small text files, as some systems
    and archives leave them."""
    place = tmp_path_factory.mktemp("packaging")
    (place / "tree").mkdir()
    for source in (ROOT / name for name in TREE):
        target = place / "tree" / source.name
        if source.is_symlink():
            target.write_text(str(source.readlink()))
        elif source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    sdist = built("sdist", place / "tree", place)
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    return built("wheel", place / sdist.name.removesuffix(".tar.gz"), place)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python's programs that has the wheel, and its requirements from the Python that runs this."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False)
    home = next((place / "lib").glob("python*/site-packages"))
    (home / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    return place / "bin"


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "chanc").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == there


def test_it_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
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


def test_a_user_s_script_is_typed(installed: Path, tmp_path: Path) -> None:
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
