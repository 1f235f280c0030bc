"""The table operator -> text: one rule an operator and since-version, found by the model's opset.

A rule writes the statements of one node through the `Emitter` that it is given. `registered()` lists the table.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chanc.backends.torch.emitter import Emitter
    from chanc.backends.torch.node import Node

Handler = Callable[["Emitter", "Node"], None]


@dataclass(frozen=True)
class Rule:
    """How one operator is written, from one opset version on."""

    domain: str
    op: str
    since: int
    handler: Handler


_RULES: dict[tuple[str, str], dict[int, Rule]] = {}


def emits(*ops: str, since: int = 1, domain: str = "") -> Callable[[Handler], Handler]:
    """Register the decorated function for each of `ops`; a second rule for the same version is a ValueError."""

    def add(handler: Handler) -> Handler:
        for op in ops:
            versions = _RULES.setdefault((domain, op), {})
            if since in versions:
                raise ValueError(f"two emitter rules for {domain or 'ai.onnx'}::{op} since version {since}")
            versions[since] = Rule(domain, op, since, handler)
        return handler

    return add


@cache
def _load_rules() -> None:
    from chanc.backends.torch import ops

    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"{ops.__name__}.{module.name}")


def lookup(domain: str, op: str, version: int) -> Rule | None:
    """The newest rule that is not newer than opset `version`, or None."""
    _load_rules()
    domain = "" if domain == "ai.onnx" else domain
    fitting = [since for since in _RULES.get((domain, op), {}) if since <= version]
    return _RULES[domain, op][max(fitting)] if fitting else None


def registered() -> tuple[Rule, ...]:
    """Every rule, sorted by domain, operator and version."""
    _load_rules()
    rules = [rule for versions in _RULES.values() for rule in versions.values()]
    return tuple(sorted(rules, key=lambda rule: (rule.domain, rule.op, rule.since)))
