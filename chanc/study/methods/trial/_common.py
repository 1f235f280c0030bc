"""What trial methods without a memory share."""

from __future__ import annotations

from chanc.runs import State
from chanc.study.methods.protocol import Measurement


def keep_best(state: State, seen: Measurement) -> State:
    """The state after a trial: the widths with the highest held-out score."""
    best = state["best"]
    if best is None or seen.score > best["score"]:
        best = {"trial": seen.trial, "score": seen.score, "widths": dict(seen.widths)}
    return {"best": best}
