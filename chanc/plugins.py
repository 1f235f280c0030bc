"""What other distributions bring: entry points that add to chanc, and optional packages that parts of it need.

An entry point names a module, or a function without arguments, that registers things when it is loaded:

    [project.entry-points."chanc.methods"]
    mine = "my_package.methods"
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from chanc.errors import ChancError, MissingDependencyError


@functools.cache
def entries(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of a group, of all that is installed."""
    return tuple(importlib.metadata.entry_points(group=group))


@functools.cache
def load(group: str) -> None:
    """Load the entry points of a group, once: one may register with several registries.

    Raises ChancError, with the name of the distribution, for one that fails.
    """
    for entry in entries(group):
        try:
            loaded = entry.load()
            if callable(loaded) and not isinstance(loaded, type):
                loaded()
        except Exception as error:  # a stranger's code may raise anything
            raise ChancError(f"{_described(entry)} failed to load: {type(error).__name__}: {error}") from error


def _described(entry: importlib.metadata.EntryPoint) -> str:
    home = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown distribution"
    return f"the plug-in {entry.name!r} of {home} ({entry.group}: {entry.value})"


@contextlib.contextmanager
def guarded(what: str, error: type[ChancError] = ChancError) -> Iterator[None]:
    """Whatever a stranger's code raises inside becomes an `error` of one line; chanc's own and OSError stay."""
    try:
        yield
    except (ChancError, OSError):
        raise
    except Exception as problem:  # a stranger's code may raise anything
        said = " ".join(str(problem).split())
        raise error(f"{what} failed: {type(problem).__name__}: {said}") from problem


def require(module: str, purpose: str, extra: str) -> ModuleType:
    """Import an optional package; MissingDependencyError says what needs it and which extra of chanc brings it."""
    expect(module, purpose, extra)
    return importlib.import_module(module)


def expect(module: str, purpose: str, extra: str) -> None:
    """The same without importing it, which may take seconds."""
    try:
        found = importlib.util.find_spec(module) is not None
    except ImportError:
        found = False
    if not found:
        raise MissingDependencyError(f"{purpose} needs {module}: pip install 'chanc[{extra}]'")


@contextlib.contextmanager
def working_directory() -> Iterator[None]:
    """The working directory first on the path of imports, while the block runs."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def import_own(path: str) -> ModuleType:
    """Import a user's module. Raises ChancError where it isn't there, with what is, or fails."""
    importlib.invalidate_caches()
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(error.name + ".")):
            found = ", ".join(module.name for module in pkgutil.iter_modules([os.getcwd()])) or "none"
            raise ChancError(f"there is no module {error.name!r}; the working directory has {found}") from None
        raise ChancError(f"importing {path} failed: {told(error)}") from error
    except Exception as error:  # a user's module may raise anything
        raise ChancError(f"importing {path} failed: {told(error)}") from error


def told(error: Exception) -> str:
    """The kind and the first line of what a stranger's code raised."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
