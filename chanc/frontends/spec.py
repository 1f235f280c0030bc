"""From one word to a module: `zoo:NAME`, `torch:PACKAGE.MODULE:FACTORY`, or another frontend's."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.errors import ChancError
from chanc.registry import Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Frontend:
    """A road to a module, known by the word before a spec's first colon.

    open: makes the module, from what stands behind that colon and keyword options. form: how a spec is written. images:
    its networks take images [1, channels, size, size]; else the shapes of the inputs have to be given.
    """

    open: Callable[[str, dict[str, Any]], nn.Module]
    form: str
    images: bool = False


FRONTENDS: Registry[Frontend] = Registry("frontend", "chanc.frontends")


def frontend_of(spec: str) -> tuple[Frontend, str]:
    """The frontend of a spec, and what it is asked for. Raises ChancError for a spec that belongs to none."""
    kind, _, rest = spec.partition(":")
    if kind not in FRONTENDS or not rest:
        raise ChancError(f"{spec!r} is not a network: give {' or '.join(one.form for one in FRONTENDS.values())}")
    return FRONTENDS[kind], rest


def open_spec(spec: str, *, seed: int | None = None, **options: Any) -> nn.Module:
    """Make the module that `spec` names.

    `zoo:NAME` is a network of the zoo; `options` are those of `chanc.frontends.zoo.build`.
    `torch:PACKAGE.MODULE:FACTORY` imports a module, the working directory first on the path, and calls
    `FACTORY(**options)`; an `nn.Module` that stands there ready is taken as it is. With a `seed` the weights are drawn
    from it and torch's global random state stays as it was.

    Raises ChancError, with what there is instead, for a spec, network, module or factory that is not there, and for a
    factory that fails or makes something else than a module.
    """
    frontend, rest = frontend_of(spec)
    torch = plugins.require("torch", "making a network", "torch")
    with torch.random.fork_rng() if seed is not None else contextlib.nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        module: nn.Module = frontend.open(rest, options)
    return module


def _from_zoo(name: str, options: dict[str, Any]) -> nn.Module:
    from chanc.frontends import zoo

    return zoo.build(name, **options)


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


FRONTENDS.add("zoo", Frontend(_from_zoo, "zoo:NAME", images=True), help="Reference networks.")
FRONTENDS.add("torch", Frontend(_from_factory, "torch:PACKAGE.MODULE:FACTORY"), help="A function that makes a module.")
