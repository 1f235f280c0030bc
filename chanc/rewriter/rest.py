"""Do the rest: where a rewrite fails, the groups at fault are found and left alone, and the others go on.

A failure names the groups at which it was seen. Where it can't, the shortest list of groups that fails is looked for by
halving: the last of it is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from chanc.errors import ChancError

Result = TypeVar("Result")
Left = Mapping[str, str]
"""Groups that are left alone, by id, and why."""
Attempt = Callable[[Left], Result]
"""Rewrites all groups but those that are left alone; raises `Fault`."""
TRIES = 8
"""Groups that were left alone together, of which each is tried once more; more would take too long."""


class Fault(Exception):
    """A rewrite that failed: the error, the ids of the groups at which it was seen (none: not known), and all tried."""

    def __init__(self, error: ChancError, groups: Collection[str], tried: Sequence[str]) -> None:
        super().__init__(str(error))
        self.error, self.groups, self.tried = error, frozenset(groups), tuple(tried)


def do_the_rest(attempt: Attempt[Result], failed: Fault) -> Result:
    """What an attempt makes without the groups at fault; `failed` is the first failure.

    Raises the first failure's error where nothing is left to change.
    """
    left: dict[str, str] = {}
    together: list[str] = []
    groups, fault = failed.tried, failed
    if not groups:  # it fails as it is, with nothing changed
        raise failed.error
    while True:
        blamed = [name for name in groups if name in fault.groups and name not in left]
        if not blamed:
            name, fault = _culprit(groups, attempt, left, fault)
            blamed = [name]
        left.update(dict.fromkeys(blamed, str(fault.error)))
        together += blamed if len(blamed) > 1 else []
        if len(left) == len(groups):
            raise failed.error
        try:
            result = attempt(left)
        except Fault as again:
            fault = again
        else:
            return _given_back(attempt, result, left, together[:TRIES])


def _culprit(groups: Sequence[str], attempt: Attempt[Result], left: Left, fault: Fault) -> tuple[str, Fault]:
    """The last group of the shortest list that fails, and how that fails."""
    free = [name for name in groups if name not in left]
    passes, fails = 0, len(free)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        try:
            attempt({**left, **dict.fromkeys(free[middle:], "")})
        except Fault as found:
            fails, fault = middle, found
        else:
            passes = middle
    return free[fails - 1], fault


def _given_back(attempt: Attempt[Result], result: Result, left: dict[str, str], suspects: Sequence[str]) -> Result:
    """The result with those changed after all that were left alone only because others failed."""
    for name in suspects:
        fewer = {other: reason for other, reason in left.items() if other != name}
        try:
            result, left = attempt(fewer), fewer
        except Fault:
            continue
    return result
