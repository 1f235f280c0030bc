"""The table of specs: by domain, name and the opset since which a spec holds, and what is asked of it.

The families live in this package, a file each, and register themselves when they are imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from chanc.ops.spec import Spec, Trait, Weight, WorkOf
from chanc.registry import Operator, Operators

Kind = tuple[str, str]
"""Domain ('' for ONNX's own) and name of an operator."""

SPECS: Operators[Spec] = Operators("spec", "chanc.ops", "chanc.ops")
find = SPECS.find


def operator(
    *names: str,
    domain: str = "",
    since: int = 1,
    traits: Collection[Trait],
    weights: tuple[Weight, ...],
    divisors: tuple[int, ...],
    work: WorkOf | None,
) -> None:
    """Register one spec for the operators named; another one for the same operator and version is a ChancError.

    Nothing that can be forgotten has a default: an operator without weights says so.
    """
    for name in names:
        spec = Spec(
            name=name, domain=domain, since=since, traits=frozenset(traits), weights=weights, divisors=divisors,
            work=work,
        )  # fmt: skip
        SPECS.add(Operator(domain, name, since), spec)


def spec_of(node: ir.Node) -> Spec | None:
    """The spec of a node's operator, or None where nothing is known of it."""
    versions = SPECS.versions(node.domain, node.op_type)
    if len(versions) < 2:
        return versions[0][1] if versions else None
    version = _version(node)
    return versions[0][1] if version is None else find(node.domain, node.op_type, version)


def kind_of(node: ir.Node) -> Kind:
    """Domain and name of a node's operator."""
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def has(node: ir.Node | None, *traits: Trait) -> bool:
    """Whether a node is of any of these kinds."""
    if node is None:
        return False
    versions = SPECS.versions(node.domain, node.op_type)
    spec = versions[0][1] if len(versions) == 1 else spec_of(node)
    return spec is not None and not spec.traits.isdisjoint(traits)


def with_trait(trait: Trait) -> frozenset[Kind]:
    """The operators of a kind, in any of their versions."""
    return frozenset((spec.domain, spec.name) for spec in SPECS.values() if trait in spec.traits)


def specs() -> Iterator[Spec]:
    """Every spec, sorted by domain and operator, the newest version first."""
    return (spec for kind in SPECS.names() for _, spec in SPECS.versions(*kind))


def _version(node: ir.Node) -> int | None:
    """The opset version of a node's operator, as the node or its graph says."""
    graph = node.graph
    imports = graph.opset_imports if graph is not None else {}
    return node.version if node.version is not None else imports.get(node.domain)
