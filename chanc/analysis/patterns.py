"""Groups by pattern: how people name several at once, or one whose id they don't know."""

from __future__ import annotations

from fnmatch import fnmatchcase

from chanc.analysis.analyze import Analysis
from chanc.analysis.groups import Group
from chanc.errors import PlanError


def matching(analysis: Analysis, pattern: str) -> tuple[Group, ...]:
    """The groups whose id, or a maker of whose channels, matches a shell-style pattern: `layer1.*`, `head*`.

    A maker is known by the name of its weight and by that of its node's first output. Raises PlanError where nothing
    matches.
    """
    found = tuple(group for group in analysis.groups if any(fnmatchcase(name, pattern) for name in _names(group)))
    if not found:
        raise PlanError(f"no channel group matches {pattern!r}: `chanc analyze` lists them")
    return found


def _names(group: Group) -> set[str]:
    return {group.id, *(name for maker in group.producers for name in (maker.initializer, maker.node))}
