"""`PACKAGE.MODULE:NAME`: what a function of the user's makes, or what stands there ready."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from chanc import plugins
from chanc.errors import ChancError


def made(word: str, target: str, options: Mapping[str, Any], kinds: type | tuple[type, ...], name: str) -> Any:
    """Import a module, the working directory first on the path, and call `NAME(**options)`.

    word: of the frontend, for messages. kinds: what must come out; one of them that stands there ready is taken as it
    is. name: what messages call them.

    Raises ChancError, with what there is instead, for a module or factory that is not there, and for a factory that
    fails or makes something else.
    """
    path, _, attribute = target.partition(":")
    if not path or not attribute:
        raise ChancError(f"{word}:{target} names no factory: give {word}:PACKAGE.MODULE:FACTORY")
    with plugins.working_directory():
        home = plugins.import_own(path)
        found = getattr(home, attribute, None)
        if isinstance(found, kinds):
            return found
        if not callable(found):
            raise ChancError(f"{path} has no factory {attribute!r}; it has {_listed(_callables(home))}")
        result = _call(f"{path}:{attribute}", found, options)
    if not isinstance(result, kinds):
        raise ChancError(f"{path}:{attribute} made a {type(result).__name__}, not {name}")
    return result


def _call(name: str, factory: Any, options: Mapping[str, Any]) -> Any:
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
