"""Groups by pattern: how people name several at once, or one whose id they don't know.

A group goes by its id, and by the names of what makes its channels: the weight, the node, and the node's first output.
What only passes them on (a norm, a depthwise convolution) names a group where nothing else of that name makes one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from chanc.analysis.analyze import Analysis
from chanc.analysis.groups import Group, Operand
from chanc.errors import PlanError
from chanc.ir.nodes import called, nodes_of

GUESSES = 2
"""Names that are offered for one that nothing has."""


def matching(analysis: Analysis, pattern: str) -> tuple[Group, ...]:
    """The groups of an id, else those with a name that matches a shell-style pattern: `layer1.*`, `*.conv2.weight`.

    Raises PlanError where nothing matches, with the names that come nearest.
    """
    if pattern in analysis.by_id:
        return (analysis.by_id[pattern],)
    nodes = {called(node): node.name or "" for node in nodes_of(analysis.model.graph)}
    known: set[str] = set()
    for names_of in (_made_by, _passed_by):
        names = {group.id: names_of(group, nodes) for group in analysis.groups}
        found = tuple(group for group in analysis.groups if _matches(names[group.id], pattern))
        if found:
            return found
        known = known.union(*names.values())
    raise PlanError(f"no channel group matches {pattern!r}{_guess(pattern, known)}: `chanc analyze --deps` lists them")


def _made_by(group: Group, nodes: Mapping[str, str]) -> set[str]:
    return {group.id, *_names(group.producers, nodes)}


def _passed_by(group: Group, nodes: Mapping[str, str]) -> set[str]:
    return _names((operand for operand in group.operands if operand.role == "follower"), nodes)


def _names(operands: Iterable[Operand], nodes: Mapping[str, str]) -> set[str]:
    """The weights, the nodes and their first outputs; `nodes` are names by first output."""
    return {name for one in operands for name in (one.initializer, one.node, nodes.get(one.node, "")) if name}


def _matches(names: Iterable[str], pattern: str) -> bool:
    """Whether a name is the pattern itself, brackets and all, or matches it."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def _guess(pattern: str, known: Iterable[str]) -> str:
    """What may have been meant: names; for a pattern with a star, also their beginnings with one."""
    words = set(known)
    if "*" in pattern:
        words |= {f"{name[: cut.start()]}{cut[0]}*" for name in words for cut in re.finditer(r"[./_:]", name)}
    near = difflib.get_close_matches(pattern, sorted(words), GUESSES)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
