"""The table of specs: by domain, name and the opset since which a spec holds, and what is asked of it.

The families live in this package, a file each, and register themselves when they are imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterator

import onnx_ir as ir

from chanc.ops.spec import Spec, Trait, Weight, WorkOf
from chanc.registry import load_entry_points

Kind = tuple[str, str]
"""Domain ('' for ONNX's own) and name of an operator."""

_SPECS: dict[Kind, list[Spec]] = {}
_loaded = False


def operator(
    *names: str,
    domain: str = "",
    since: int = 1,
    traits: Collection[Trait],
    weights: tuple[Weight, ...],
    divisors: tuple[int, ...],
    work: WorkOf | None,
) -> None:
    """Register one spec for the operators named; a second one for the same operator and version is a ValueError.

    Nothing that can be forgotten has a default: an operator without weights says so.
    """
    for name in names:
        versions = _SPECS.setdefault((domain, name), [])
        if any(spec.since == since for spec in versions):
            raise ValueError(f"{domain or 'ai.onnx'}::{name} has a spec since version {since} already")
        spec = Spec(
            name=name, domain=domain, since=since, traits=frozenset(traits), weights=weights, divisors=divisors,
            work=work,
        )  # fmt: skip
        versions.append(spec)
        versions.sort(key=lambda entry: -entry.since)


def find(domain: str, name: str, version: int) -> Spec | None:
    """The newest spec that holds at that opset version, or None."""
    versions = _specs().get(("" if domain == "ai.onnx" else domain, name), ())
    return next((spec for spec in versions if spec.since <= version), None)


def spec_of(node: ir.Node) -> Spec | None:
    """The spec of a node's operator, or None where nothing is known of it."""
    versions = _specs().get(kind_of(node))
    if versions is None:
        return None
    if len(versions) == 1:
        return versions[0]
    version = _version(node)
    return versions[0] if version is None else find(node.domain, node.op_type, version)


def kind_of(node: ir.Node) -> Kind:
    """Domain and name of a node's operator."""
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def has(node: ir.Node | None, *traits: Trait) -> bool:
    """Whether a node is of any of these kinds."""
    spec = spec_of(node) if node is not None else None
    return spec is not None and not spec.traits.isdisjoint(traits)


def with_trait(trait: Trait) -> frozenset[Kind]:
    """The operators of a kind, in any of their versions."""
    return frozenset(kind for kind, versions in _specs().items() if any(trait in spec.traits for spec in versions))


def specs() -> Iterator[Spec]:
    """Every spec, sorted by domain and operator, the newest version first."""
    table = _specs()
    return (spec for kind in sorted(table) for spec in table[kind])


def _version(node: ir.Node) -> int | None:
    """The opset version of a node's operator, as the node or its graph says."""
    graph = node.graph
    imports = graph.opset_imports if graph is not None else {}
    return node.version if node.version is not None else imports.get(node.domain)


def _specs() -> dict[Kind, list[Spec]]:
    if not _loaded:
        _load()
    return _SPECS


def _load() -> None:
    global _loaded
    _loaded = True
    package = importlib.import_module(__package__ or "chanc.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    load_entry_points()
