"""The doubled oracle: with every channel of a group repeated evenly, no normalisation across channels sees the change.

Means and variances over channels stay when each channel stands there twice, so `scale=2` with even shares (the form of
`widen` for judges) keeps the function, and fails loudly where a group is wrong. It judges groups whose own rewrite is
not exact. Where a kernel runs along the channels, the first half of them is judged instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.errors import ChancError
from chanc.ir.sizes import Sizes
from chanc.oracles.pair import Pairing
from chanc.oracles.verdict import Finding
from chanc.oracles.zeroed import zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.plan import Plan
from chanc.rewriter.transfer.widen import EVEN

_TRIES = 8
"""Twins that are made at most, to tell groups that double evenly from others."""

_SHOWN = 3

Judge = Callable[[list[str]], Finding]
"""The finding on a twin of the original in which these groups have changed."""


def doubled(pairing: Pairing, original: Any, groups: Mapping[str, str], sizes: Sizes | None = None) -> list[Finding]:
    """Findings on groups of `original`: those that double evenly, those whose first half tells, others.

    groups: their ids, and why a change of theirs isn't exact.

    Not to double evenly proves no defect: a softmax over channels sees how many there are, and so does a kernel that
    runs along them. Where that is padded with zeros, the first channels alone are what is left when the others are 0.
    """

    def judge(importance: str, scale: float) -> Judge:
        return lambda names: judged(
            twin(original, {name: {"scale": scale} for name in names}, "", sizes=sizes, importance=importance), pairing
        )

    splits = not pairing.trouble
    proofs, uneven, doubt = _told_apart(judge("l2", 2), list(groups), splits)
    halves, left, _ = _told_apart(judge("first", 0.5), uneven, splits) if splits else ([], uneven, None)
    return [
        *_summary(proofs, [name for name in groups if name not in uneven], "doubling"),
        *_summary(halves, [name for name in uneven if name not in left], "the first half of the channels"),
        *(untold(left, _doubted(doubt, groups[left[0]])) if doubt is not None and left else []),
    ]


def _doubted(doubt: Finding, cause: str) -> str:
    """Why doubling tells nothing of groups whose change isn't exact for that cause."""
    changed = f"doubled, they change the outputs by {doubt.error:.1e}"
    return doubt.reason or (f"{changed}, as {cause} may" if cause else changed)


def _told_apart(judge: Judge, groups: Sequence[str], splits: bool) -> tuple[list[Finding], list[str], Finding | None]:
    """The findings that agree, the groups of which none does, and the last of the findings that don't."""
    waiting, proofs, bad = [list(groups)], list[Finding](), list[str]()
    doubt: Finding | None = None
    for _ in range(_TRIES if groups else 0):
        part = waiting.pop(0)
        finding = judge(part)
        if finding.agrees and not finding.deaf:
            proofs.append(finding)
        else:
            doubt = finding
            apart = splits and len(part) > 1
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]] if apart else []
            bad += [] if apart else part
        if not waiting:
            break
    return proofs, bad + [name for part in waiting for name in part], doubt


@dataclass(frozen=True, slots=True)
class Twin:
    """A rewrite of some groups of a model, and the model that must compute the same; `subject` says so in words."""

    expected: ir.Model
    actual: ir.Model
    subject: str
    groups: tuple[str, ...]
    shrunk: bool


def judged(made: Twin | Finding, pairing: Pairing) -> Finding:
    """The finding on a twin; where none could be made that is the finding."""
    if isinstance(made, Finding):
        return made
    finding = pairing.compare(made.expected, made.actual, made.subject, listen=made.shrunk)
    return replace(finding, groups=made.groups)


def twin(
    original: Any,
    plan: Plan,
    subject: str,
    analysis: Analysis | None = None,
    *,
    sizes: Sizes | None = None,
    importance: str = "l2",
) -> Twin | Finding:
    """A rewrite of `original` that must keep what isn't dropped: `plan`, widened evenly. Why there is none, else.

    An analysis of the original, which is spent, saves making one; else it is analysed at these `sizes` of open axes.
    """
    groups = tuple(plan)
    source = original if analysis is None else analysis
    try:
        made = rewrite(source, plan, transfer=EVEN, importance=importance, dims=sizes)
    except ChancError as error:
        return Finding(subject, "none", (), None, reason=str(error), groups=groups)
    widths = [made.trace.groups[name] for name in plan]
    for name, (old, new) in zip(plan, widths, strict=True):
        if old == new:  # a twin that is the original agrees with it, and says nothing
            why = made.trace.left.get(name, "it can't be changed so")
            return Finding(subject, "none", (), None, reason=f"group '{name}' is left alone: {why}", groups=groups)
    shrunk = any(new < old for old, new in widths)
    return Twin(zeroed(original, made.trace), made.model, subject, groups, shrunk)


def untold(groups: Sequence[str], reason: str) -> list[Finding]:
    """The finding that nobody can tell of some groups, if there are any."""
    names = ", ".join(f"'{name}'" for name in groups[:_SHOWN])
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    subject = f"{counted(groups)} ({names}{more})"
    return [Finding(subject, "none", (), None, reason=reason, groups=tuple(groups))] if groups else []


def counted(groups: Collection[str], kind: str = "") -> str:
    """How many groups there are, in words."""
    return f"{len(groups)} {kind and kind + ' '}group{'' if len(groups) == 1 else 's'}"


def _summary(proofs: Sequence[Finding], groups: Sequence[str], means: str) -> list[Finding]:
    """One finding for all groups that were verified by the same means: the one that was furthest apart."""
    worst = max(proofs, key=lambda finding: finding.error, default=None)
    subject = f"{counted(groups)} verified by {means}"
    return [replace(worst, subject=subject, groups=tuple(groups))] if worst else []
