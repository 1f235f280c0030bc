"""The wheel, made of the sdist, and a Python that has it, outside of the checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = ("chanc", "examples", "passes", "frontends", "tests", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
        "CHANGELOG.md")  # fmt: skip
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"
PROGRAM = """#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""


def outside(**extra: str) -> dict[str, str]:
    """An environment that knows nothing of the checkout, with one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1", **extra}


def call_outside(*words: object, cwd: Path, **extra: str) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=outside(**extra), capture_output=True, text=True,
                          timeout=900, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def call() -> Callable[..., str]:
    """Runs a program outside of the checkout, and gives what it prints."""
    return call_outside


def built(kind: str, source: Path, folder: Path) -> Path:
    """A sdist or wheel, by the setuptools that is here."""
    pytest.importorskip("setuptools", minversion="77")
    said = call_outside(sys.executable, "-c", BUILD.format(kind=kind, folder=str(folder)), cwd=source)
    return folder / said.splitlines()[-1]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python's programs, `chanc` among them, that has the wheel, and its requirements from the Python
    that runs this."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False)
    home = next((place / "lib").glob("python*/site-packages"))
    (home / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    points = configparser.ConfigParser()
    points.read(next(home.glob("chanc-*.dist-info")) / "entry_points.txt")
    module, function = points["console_scripts"]["chanc"].split(":")
    program = place / "bin" / "chanc"
    program.write_text(PROGRAM.format(python=place / "bin" / "python", module=module, function=function))
    program.chmod(0o755)
    return place / "bin"
