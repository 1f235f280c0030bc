"""The doubled oracle: with every channel of a group repeated evenly, no normalisation across channels sees the change.

Means and variances over channels stay when each channel stands there twice, so `scale=2` with `transfer="widen"` keeps
the function, and fails loudly where a group is wrong. It judges groups whose own rewrite is not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chanc.errors import ChancError
from chanc.oracles.pair import Pairing
from chanc.oracles.verdict import Finding
from chanc.rewriter import rewrite

_TRIES = 8
"""Twins that are made at most, to tell groups that double evenly from others."""

_SHOWN = 3


def doubled(pairing: Pairing, original: Any, groups: Sequence[str]) -> list[Finding]:
    """Findings on groups of `original`, by their ids: on those that double evenly, and on those that don't.

    Not to double evenly proves no defect: a softmax over channels sees how many there are.
    """
    waiting, proofs, bad, reason = [list(groups)], [], list[str](), ""
    for _ in range(_TRIES if groups else 0):
        part = waiting.pop(0)
        finding = _twin(pairing, original, part)
        if finding.agrees:
            proofs.append(finding)
        elif len(part) > 1 and not pairing.trouble:
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
        else:
            bad += part
        if not finding.agrees:
            reason = finding.reason or f"doubled, they change the outputs by {finding.error:.1e}"
        if not waiting:
            break
    bad += [name for part in waiting for name in part]
    return _summary(proofs, len(groups) - len(bad)) + _untold(bad, reason)


def _twin(pairing: Pairing, original: Any, groups: Sequence[str]) -> Finding:
    try:
        twin = rewrite(original, {name: {"scale": 2} for name in groups}, transfer="widen")
    except ChancError as error:
        return Finding("", "none", (), None, reason=str(error))
    return pairing.compare(original, twin.model, "")


def _summary(proofs: Sequence[Finding], count: int) -> list[Finding]:
    """One finding for all groups that double evenly: the one that was furthest apart."""
    if not proofs:
        return []
    worst = max(proofs, key=lambda finding: finding.error)
    subject = f"{count} groups that a norm across channels sees verified by doubling"
    return [Finding(subject, worst.judge, worst.differences, True, worst.noise)]


def _untold(groups: Sequence[str], reason: str) -> list[Finding]:
    names = ", ".join(f"'{name}'" for name in groups[:_SHOWN])
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return [Finding(f"{len(groups)} groups ({names}{more})", "none", (), None, reason=reason)] if groups else []
