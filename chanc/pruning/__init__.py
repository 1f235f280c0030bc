"""Pruning: a model within a budget, and still right.

evidence of data -> widths that are worth most -> rewrite, verified -> closed-form refit -> training -> the next step
"""

from __future__ import annotations

from chanc.pruning.outcome import STAGES, Pruned, Step
from chanc.pruning.prune import prune

__all__ = ["STAGES", "Pruned", "Step", "prune"]
