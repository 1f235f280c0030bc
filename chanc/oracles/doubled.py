"""The doubled oracle: with every channel of a group repeated evenly, no normalisation across channels sees the change.

Means and variances over channels stay when each channel stands there twice, so `scale=2` with `transfer="widen"` keeps
the function, and fails loudly where a group is wrong. It judges groups whose own rewrite is not exact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from chanc.analysis import Analysis
from chanc.errors import ChancError
from chanc.ir.sizes import Sizes
from chanc.oracles.pair import Pairing
from chanc.oracles.verdict import Finding
from chanc.oracles.zeroed import zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.plan import Plan

_TRIES = 8
"""Twins that are made at most, to tell groups that double evenly from others."""

_SHOWN = 3


def doubled(
    pairing: Pairing, original: Any, groups: Sequence[str], sizes: Sizes | None = None
) -> list[Finding]:
    """Findings on groups of `original`, by their ids: on those that double evenly, and on those that don't.

    Not to double evenly proves no defect: a softmax over channels sees how many there are.
    """
    waiting, proofs, bad, reason = [list(groups)], list[Finding](), list[str](), ""
    for _ in range(_TRIES if groups else 0):
        part = waiting.pop(0)
        finding = twin(pairing, original, {name: {"scale": 2} for name in part}, "", sizes=sizes)
        if finding.agrees:
            proofs.append(finding)
        else:
            reason = finding.reason or f"doubled, they change the outputs by {finding.error:.1e}"
            splits = len(part) > 1 and not pairing.trouble
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]] if splits else []
            bad += [] if splits else part
        if not waiting:
            break
    bad += [name for part in waiting for name in part]
    sound = [name for name in groups if name not in bad]
    return _summary(proofs, sound) + untold(bad, reason)


def twin(
    pairing: Pairing,
    original: Any,
    plan: Plan,
    subject: str,
    analysis: Analysis | None = None,
    *,
    sizes: Sizes | None = None,
) -> Finding:
    """The finding on a rewrite of `original` that must keep what isn't dropped: `plan`, with `transfer="widen"`.

    An analysis of the original, which is spent, saves making one; else it is analysed at these `sizes` of open axes.
    """
    groups = tuple(plan)
    try:
        made = rewrite(original if analysis is None else analysis, plan, transfer="widen", dims=sizes)
    except ChancError as error:
        return Finding(subject, "none", (), None, reason=str(error), groups=groups)
    widths = [made.trace.groups[name] for name in plan]
    for name, (old, new) in zip(plan, widths, strict=True):
        if old == new:  # a twin that is the original agrees with it, and says nothing
            why = made.trace.left.get(name, "it can't be changed so")
            return Finding(subject, "none", (), None, reason=f"group '{name}' is left alone: {why}", groups=groups)
    shrunk = any(new < old for old, new in widths)
    finding = pairing.compare(zeroed(original, made.trace), made.model, subject, listen=shrunk)
    return replace(finding, groups=groups)


def untold(groups: Sequence[str], reason: str) -> list[Finding]:
    """The finding that nobody can tell of some groups, if there are any."""
    names = ", ".join(f"'{name}'" for name in groups[:_SHOWN])
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    subject = f"{counted(groups)} ({names}{more})"
    return [Finding(subject, "none", (), None, reason=reason, groups=tuple(groups))] if groups else []


def counted(groups: Collection[str], kind: str = "") -> str:
    """How many groups there are, in words."""
    return f"{len(groups)} {kind and kind + ' '}group{'' if len(groups) == 1 else 's'}"


def _summary(proofs: Sequence[Finding], groups: Sequence[str]) -> list[Finding]:
    """One finding for all groups that double evenly: the one that was furthest apart."""
    worst = max(proofs, key=lambda finding: finding.error, default=None)
    subject = f"{counted(groups)} verified by doubling"
    return [replace(worst, subject=subject, groups=tuple(groups))] if worst else []
