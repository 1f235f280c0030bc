"""The oracles, run on the exact groups of a model, or on the edges of its consumers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chanc.analysis import analyze
from chanc.oracles.compare import TOLERANCE
from chanc.oracles.pair import pairing
from chanc.oracles.zeroed import zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.plan import Plan
from chanc.rewriter.trace import Trace

EXACT = 1e-5
"""Of the largest output: edges take away what is multiplied by zero, and change no sum but by its order."""


def check_shrink(
    model: Any, plan: Plan | None = None, *, scale: float = 0.5, tolerance: float = TOLERANCE, **options: Any
) -> Trace:
    """The shrink oracle on the exact groups of a model; AssertionError where it fails. Returns the trace.

    plan: widths by group id, in place of one scale; groups that can't change exactly are left out.
    """
    exact = [group.id for group in analyze(model).groups if group.resizable and group.exact]
    asked = plan if plan is not None else {name: {"scale": scale} for name in exact}
    result = rewrite(model, {name: wish for name, wish in asked.items() if name in exact}, **options)
    return _checked(zeroed(model, result.trace), result.model, result.trace, tolerance)


def check_widen(model: Any, *, scale: float = 1.5, tolerance: float = TOLERANCE, **options: Any) -> Trace:
    """The widen oracle on the exact groups of a model; AssertionError where it fails. Returns the trace."""
    plan = {g.id: {"scale": scale} for g in analyze(model).groups if g.resizable and g.exact and g.scalable}
    result = rewrite(model, plan, transfer="widen", **options)
    return _checked(model, result.model, result.trace, tolerance)


def check_edges(model: Any, edges: Mapping[str, Any], *, tolerance: float = EXACT, **options: Any) -> Trace:
    """The edge oracle: the lowered model is the original with the columns zeroed that `edges` don't keep.

    AssertionError where it isn't. Returns the trace.
    """
    result = rewrite(model, {"format": 2, "edges": edges}, **options)
    trace = replace(result.trace, operands=())
    expected = zeroed(model, trace)
    pair = pairing(model, None, tolerance=tolerance, expected=expected)
    finding = pair.compare(expected, result.model, "the lowered model")
    if not finding.agrees:
        raise AssertionError(str(finding))
    return result.trace


def _checked(expected: Any, actual: Any, trace: Trace, tolerance: float) -> Trace:
    if trace.left:
        raise AssertionError(f"groups are left alone: {trace.left}")
    pair = pairing(expected, None, tolerance=tolerance, expected=expected)
    finding = pair.compare(expected, actual, "the rewritten model")
    if not finding.agrees:
        raise AssertionError(str(finding))
    return trace
