"""SymPy is imported when something needs it: half of what a command would import is spared.

onnx_ir imports SymPy for arithmetic with the names of open axes, which no command here does on most models. While
onnx_ir is being imported a stand-in has SymPy's place among the modules, and only then: onnx_ir keeps it, and it
imports SymPy at its first use. Everybody else, PyTorch for one, finds SymPy itself, the same objects as behind the
stand-in. Only the command line does this, whose process is chanc's own; `import chanc` leaves imports as they are.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

_READER, _READ = "onnx_ir", "sympy"


def sympy_later() -> None:
    """From now on onnx_ir is imported without SymPy; nothing changes where one of the two is there already."""
    if _READER not in sys.modules and _READ not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _StandIn(ModuleType):
    """Has all that SymPy has; while onnx_ir is being imported, as functions that ask SymPy when they are called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these
            raise AttributeError(name)
        if sys.modules.get(_READ) is self:
            return _asked_later(name)
        return getattr(importlib.import_module(_READ), name)


def _asked_later(name: str) -> Callable[..., Any]:
    return lambda *given: getattr(importlib.import_module(_READ), name)(*given)


class _Finder(MetaPathFinder):
    """Finds onnx_ir, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of onnx_ir, with a loader that has the stand-in in place; None for all else."""
        if fullname != _READER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(_READER)
        if spec is not None and spec.loader is not None and _READ not in sys.modules:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """The loader of a module, which finds a stand-in for SymPy while it is executed."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """The module, as its own loader makes it."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; afterwards it has its own loader, and SymPy's place is free."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        sys.modules[_READ] = _StandIn(_READ)
        try:
            self._own.exec_module(module)
        finally:
            del sys.modules[_READ]
