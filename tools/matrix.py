"""Does chanc work with this Python and those versions? An environment a cell, and a quick part of the tests in it.

    python tools/matrix.py --list
    python tools/matrix.py --only named --only 3.13
    python tools/matrix.py --without torch                  where no CPU build of PyTorch can be had
    python tools/matrix.py tests/analysis tests/rewriter    other tests than the quick ones

PyTorch comes from an index of CPU builds. A cell whose Python or packages can't be had here is said to be so and is no
failure; the exit code is 1 where tests fail.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "scipy", "scikit-learn")
QUICK = ("tests/test_api.py", "tests/passes", "tests/ir/test_load_save.py", "tests/analysis/test_groups.py",
         "tests/rewriter/test_rewrite.py", "tests/rewriter/test_provenance.py", "tests/pruning/test_prune.py",
         "tests/runs/test_rundir.py")  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A Python, and the versions of some packages; of others the newest that fit.

    packages: installed besides. tests: run where nobody asks for others. marks: which of them, as pytest's -m has it.
    """

    name: str
    python: str
    pins: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()
    tests: Sequence[str] = QUICK
    marks: str = "not nightly and not shared"


CELLS = (
    Cell("3.11", "3.11", {"torch": "2.13.*", "onnx-ir": "1.1.*"}),
    Cell("3.12", "3.12", {"torch": "2.13.*", "onnx-ir": "1.1.*"}),
    Cell("3.13", "3.13", {"torch": "2.13.*", "onnx-ir": "1.1.*"}),
    Cell("3.14", "3.14", {"torch": "2.13.*", "onnx-ir": "1.1.*"}),
    Cell("oldest", "3.11", {"torch": "2.6.*", "onnx-ir": "1.0.*", "numpy": "2.0.*"}),
    *(Cell(f"torch-2.{minor}", "3.12", {"torch": f"2.{minor}.*"}) for minor in range(7, 13)),
    Cell("named", "3.12", {"torch": "2.11.*", "onnx": "1.23.1", "onnx-ir": "1.0.0", "onnxscript": "0.7.2",
                           "onnxruntime": "1.30.*"}),
    Cell("toolchains", "3.11", {"torch": "2.13.*"},
         ("onnx-graphsurgeon", "polygraphy", "olive-ai", "requests", "openvino", "apache-tvm", "ncnn", "pnnx", "mnn",
          "optuna", "tensorboard", "mlflow", "wandb"),
         ("tests/examples/test_toolchains.py", "tests/runs/loggers"), "nightly"),
)  # fmt: skip


class CannotBeHad(Exception):
    """What a cell needs isn't here, and why."""


def python_of(version: str) -> str:
    """A Python of that version that runs. Raises CannotBeHad."""
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    for found in (*map(str, pyenv), shutil.which(f"python{version}")):
        if found and subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return found
    raise CannotBeHad(f"there is no Python {version}")


def installed(cell: Cell, place: Path, index: str, without: Sequence[str]) -> Path:
    """The programs of the cell's environment. Raises CannotBeHad where a package can't be installed."""
    programs = place / cell.name / "bin"
    if not (programs / "python").exists():
        subprocess.run([python_of(cell.python), "-m", "venv", place / cell.name], check=True)
    pins = {name: version for name, version in cell.pins.items() if name not in without}
    pip = [programs / "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = [f"{name}=={version}" for name, version in pins.items() if name != "torch"]
    extras = "cpu,export" if "torch" in without else "cpu,torch,export"
    if "torch" in pins:
        _had([*pip, f"torch=={pins['torch']}", "--index-url", index])
    _had([*pip, *wanted, *TOOLS, *cell.packages, f"chanc[{extras}] @ {ROOT.as_uri()}"])
    return programs


def _had(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotBeHad((errors or done.stderr.splitlines() or ["pip failed"])[-1])


def tried(cell: Cell, place: Path, index: str, without: Sequence[str], tests: Sequence[str]) -> tuple[str, bool]:
    """What came of a cell, in a line, and whether it failed."""
    try:
        programs = installed(cell, place, index, without)
    except CannotBeHad as reason:
        return f"can't be had: {reason}", False
    # pytest's own program, not `python -m pytest`: that would import chanc from the checkout.
    done = subprocess.run([programs / "pytest", "-m", cell.marks, *(tests or cell.tests)], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    lines = done.stdout.splitlines()
    if done.returncode:
        print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))))
    return lines[-1] if lines else done.stderr, done.returncode != 0


def main() -> int:
    """All cells asked for, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="what pytest runs [a quick part; the cell's own]")
    parser.add_argument("--only", action="append", choices=[cell.name for cell in CELLS], help="these cells alone")
    parser.add_argument("--without", action="append", default=[], choices=["torch"], help="leave a package out")
    parser.add_argument("--torch-index", default=TORCH_INDEX, help="where CPU builds of PyTorch are [%(default)s]")
    parser.add_argument("--venvs", type=Path, default=ROOT / "build" / "matrix", help="where environments are kept")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    asked = parser.parse_args()
    failed = False
    for cell in CELLS:
        if asked.only and cell.name not in asked.only:
            continue
        pins = ", ".join(f"{name} {version}" for name, version in cell.pins.items())
        print(f"{cell.name}: Python {cell.python}, {pins}", flush=True)
        if not asked.list:
            said, wrong = tried(cell, asked.venvs, asked.torch_index, asked.without, asked.tests)
            print(f"    {said}", flush=True)
            failed |= wrong
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
