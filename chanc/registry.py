"""Tables from operator to rule: by domain, name and the opset since which the rule holds.

Users' own rules come in through the entry point group `chanc.rules`: a module or function that registers them when it
is loaded.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Rule = TypeVar("Rule", bound=Callable[..., object])

ENTRY_POINTS = "chanc.rules"


class Registry(Generic[Rule]):
    """Rules by operator; the families live in one package, a file each, and register themselves when imported."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._rules: dict[tuple[str, str], list[tuple[int, Rule]]] = {}
        self._loaded = False

    def rule(self, *names: str, domain: str = "", since: int = 1) -> Callable[[Rule], Rule]:
        """Register a rule for the operators named; a second rule for the same operator and version is a ValueError."""

        def register(function: Rule) -> Rule:
            for name in names:
                versions = self._rules.setdefault((domain, name), [])
                if any(version == since for version, _ in versions):
                    raise ValueError(f"{domain or 'ai.onnx'}::{name} has a rule since version {since} already")
                versions.append((since, function))
                versions.sort(key=lambda entry: -entry[0])
            return function

        return register

    def find(self, domain: str, name: str, version: int) -> Rule | None:
        """The newest rule that holds at that opset version, or None."""
        self._load()
        for since, function in self._rules.get(("" if domain == "ai.onnx" else domain, name), ()):
            if since <= version:
                return function
        return None

    def names(self) -> Iterator[tuple[str, str]]:
        """(domain, operator) of every rule, sorted."""
        self._load()
        return iter(sorted(self._rules))

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        load_entry_points()


@functools.cache
def load_entry_points() -> None:
    """Load what the entry points name, once for all registries: a function there may register rules in several."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        loaded = entry.load()
        if callable(loaded):
            loaded()
