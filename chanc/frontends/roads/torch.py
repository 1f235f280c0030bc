"""`torch:PACKAGE.MODULE:FACTORY`: a module that a function makes, or one that stands there ready."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError
from chanc.frontends.spec import FRONTENDS, Frontend

if TYPE_CHECKING:
    from torch import nn


def _from_factory(target: str, options: dict[str, Any]) -> nn.Module:
    from torch import nn

    path, _, name = target.partition(":")
    if not path or not name:
        raise ChancError(f"torch:{target} names no factory: give torch:PACKAGE.MODULE:FACTORY")
    with _working_directory_on_path():
        home = _import(path)
        factory = getattr(home, name, None)
        if isinstance(factory, nn.Module):
            return factory
        if not callable(factory):
            raise ChancError(f"{path} has no factory {name!r}; it has {_listed(_callables(home))}")
        made = _call(f"{path}:{name}", factory, options)
    if not isinstance(made, nn.Module):
        raise ChancError(f"{path}:{name} made a {type(made).__name__}, not a torch.nn.Module")
    return made


@contextlib.contextmanager
def _working_directory_on_path() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _import(path: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(error.name + ".")):
            found = _listed([module.name for module in pkgutil.iter_modules([os.getcwd()])])
            raise ChancError(f"there is no module {error.name!r}; the working directory has {found}") from None
        raise ChancError(f"importing {path} failed: {_told(error)}") from error
    except Exception as error:  # a user's module may raise anything
        raise ChancError(f"importing {path} failed: {_told(error)}") from error


def _call(name: str, factory: Any, options: dict[str, Any]) -> Any:
    try:
        return factory(**options)
    except ChancError:
        raise
    except Exception as error:  # a user's factory may raise anything
        raise ChancError(f"{name} failed: {_told(error)}") from error


def _callables(home: ModuleType) -> list[str]:
    own = [name for name, value in vars(home).items() if callable(value) and value.__module__ == home.__name__]
    return sorted(name for name in own if not name.startswith("_"))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


FRONTENDS.add("torch", Frontend(_from_factory, "torch:PACKAGE.MODULE:FACTORY"), help="A function that makes a module.")
