"""`torch:PACKAGE.MODULE:FACTORY`: a module that a function makes, or one that stands there ready."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.errors import ChancError
from chanc.frontends.spec import FRONTENDS, Frontend

if TYPE_CHECKING:
    from torch import nn


def _from_factory(target: str, options: dict[str, Any]) -> nn.Module:
    from torch import nn

    path, _, name = target.partition(":")
    if not path or not name:
        raise ChancError(f"torch:{target} names no factory: give torch:PACKAGE.MODULE:FACTORY")
    with plugins.working_directory():
        home = plugins.import_own(path)
        factory = getattr(home, name, None)
        if isinstance(factory, nn.Module):
            return factory
        if not callable(factory):
            raise ChancError(f"{path} has no factory {name!r}; it has {_listed(_callables(home))}")
        made = _call(f"{path}:{name}", factory, options)
    if not isinstance(made, nn.Module):
        raise ChancError(f"{path}:{name} made a {type(made).__name__}, not a torch.nn.Module")
    return made


def _call(name: str, factory: Any, options: dict[str, Any]) -> Any:
    try:
        return factory(**options)
    except ChancError:
        raise
    except Exception as error:  # a user's factory may raise anything
        raise ChancError(f"{name} failed: {plugins.told(error)}") from error


def _callables(home: ModuleType) -> list[str]:
    own = [name for name, value in vars(home).items() if callable(value) and value.__module__ == home.__name__]
    return sorted(name for name in own if not name.startswith("_"))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


FRONTENDS.add("torch", Frontend(_from_factory, "torch:PACKAGE.MODULE:FACTORY"), help="A function that makes a module.")
