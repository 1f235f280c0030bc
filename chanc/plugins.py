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
        told = " ".join(str(problem).split())
        raise error(f"{what} failed: {type(problem).__name__}: {told}") from problem


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
