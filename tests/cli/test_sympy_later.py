"""What the commands import: nothing heavy before it is needed, and SymPy at onnx_ir's first use of it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import chanc
from chanc.cli.sympy_later import sympy_later
from chanc.testing.graphs import Graph

COMMANDS = """
import sys
from chanc.cli import main
for line in (["analyze", "model.onnx"], ["rewrite", "model.onnx", "-o", "half.onnx", "--scale", "0.5", "--no-verify"]):
    main(line)
heavy = ("torch", "onnxruntime", "matplotlib", "sympy", "chanc.api", "chanc.study", "chanc.tasks", "chanc.report.run")
print("imported:", *(name for name in heavy if name in sys.modules))
"""

NAMES = """
import sys
from chanc.cli.sympy_later import sympy_later
sympy_later()
import onnx_ir as ir
print("sympy" in sys.modules, type(ir.__spec__.loader).__name__, type(ir.__loader__).__name__)
print(ir.SymbolicDim("max(n, 2) + 1").evaluate({"n": 5}), ir.SymbolicDim("n") * 2)
import sympy
print(type(sympy).__name__, ir.SymbolicDim(sympy.Symbol("n") + 1), isinstance(ir.SymbolicDim("n")._expr, sympy.Symbol))
"""



def run(code: str, folder: Path) -> list[str]:
    """What a new process says: those of `fresh` have onnx_ir already."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_a_command_leaves_alone(tmp_path: Path) -> None:
    graph = Graph(opset=17, seed=0)
    chanc.save(graph.ir(graph.input("x", ["N", 3, 6, 6]).conv(8).relu().conv(4)), tmp_path / "model.onnx")
    assert run(COMMANDS, tmp_path)[-1] == "imported:"


def test_names_of_axes_are_reckoned_with_by_sympy_itself(tmp_path: Path) -> None:
    own = importlib.util.find_spec("onnx_ir").loader
    names = [type(own).__name__] * 2
    assert run(NAMES, tmp_path) == [f"False {' '.join(names)}", "6 2*n", "module n + 1 True"]


@pytest.mark.parametrize("name", ["sympy", "onnx_ir"])
def test_what_is_imported_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("sympy", "onnx_ir"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sympy_later()
    assert sys.meta_path == []
