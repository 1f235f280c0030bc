"""What is asked of a rewrite: a plan, one scale for all, or budgets; and what that means for each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chanc.analysis import Analysis
from chanc.boundary import boundary
from chanc.rewriter.allocate import Widths
from chanc.rewriter.budget import Budget, Resize
from chanc.rewriter.choose import judged
from chanc.rewriter.edges import Wishes
from chanc.rewriter.importance import IN_LOSS, Evidence, Gathered, Importance
from chanc.rewriter.plan import Apart, Plan, Resizing, Sizing, measure_of, resizings
from chanc.rewriter.rest import Left
from chanc.rewriter.transfer import Method
from chanc.rewriter.transfer.reflect import reflected


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a rewrite, whichever groups it is carried out on."""

    plan: Plan | None
    scale: float | None
    importance: str | Importance
    method: Method
    sizing: Sizing
    seed: int
    exact: bool
    evidence: Gathered | None
    apart: Apart
    edges: Wishes

    @boundary("the choice of widths")
    def widths(self, budget: Budget, analysis: Analysis, left: Left, resize: Resize) -> Widths:
        """A plan for these budgets, by group id, of what the groups that aren't left alone may give."""
        shares = {name: share for name, share in self.apart.shares(analysis).items() if name not in left}
        fixed = {name: self.sizing.units(group, share * group.size) * group.step for name, share in shares.items()
                 if share is not None and (group := analysis.group(name)).resizable}  # fmt: skip
        free = [group for group in analysis.groups if group.resizable and group.id not in {*shares, *left}]
        free = [group for group in free if not (self.exact and group.inexact)]
        evidence = Evidence(analysis.model, np.random.default_rng(self.seed), self.evidence)
        measure = measure_of(self.importance)
        scores = {group.id: judged(group, measure, evidence) for group in free}
        compare = self.importance in IN_LOSS and all(evidence.effect(group) is not None for group in free)
        return budget.widths(analysis, scores, fixed, self.sizing, compare=compare, resize=resize)

    def resizings(self, analysis: Analysis, rng: np.random.Generator) -> list[Resizing]:
        """One for each group that may change and is named."""
        order = "first" if self.method.ordered else self.importance
        chosen = resizings(analysis, self.plan, self.scale, order, self.sizing, rng, self.evidence, self.apart)
        return [_reflected(r) if self.method.ordered and r.source.size > r.copies.size else r for r in chosen]

    @boundary("the choice of channels")
    def choice(self, analysis: Analysis, leave: Left, rng: np.random.Generator) -> tuple[list[Resizing], Left]:
        """The resizings, and the groups that are left alone nevertheless: those of `leave`, and those refused."""
        asked = self.resizings(analysis, rng)
        refused = {r.group.id: self.refused(r) for r in asked if r.changed}
        return asked, {**{name: reason for name, reason in refused.items() if reason}, **leave}

    def refused(self, resizing: Resizing) -> str:
        """Why a group is left alone that could change; '' where it isn't."""
        group = resizing.group
        if self.exact and resizing.inexact:
            return f"it can't change exactly: {resizing.inexact}"
        if self.method.keeps and self.scale is not None and resizing.grows and group.unscaled:
            return f"{self.method.name} can't keep the function: {group.unscaled}"
        return ""


def _reflected(resizing: Resizing) -> Resizing:
    source = reflected(resizing.copies.size, resizing.source.size)
    return Resizing(resizing.group, resizing.copies, source)
