"""Importance: which units of a group matter most. One measure a file, which registers it.

A measure is a function `(group, evidence) -> scores [units]`: the unit with the highest score is kept longest when the
group shrinks, and repeated first when it grows. `evidence` has the weights, and what data showed where they were asked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chanc.analysis import Group
from chanc.errors import PlanError
from chanc.registry import Registry
from chanc.rewriter.importance.evidence import Evidence
from chanc.rewriter.importance.gathered import Gathered, Moments

Scores = NDArray[np.float64]
Importance = Callable[[Group, Evidence], Scores]

IMPORTANCES: Registry[Importance] = Registry("importance", "chanc.importances", __name__, error=PlanError)
register = IMPORTANCES.register

IN_LOSS = frozenset({"fisher", "taylor"})
"""Importances in units of the loss, which mean the same in all groups; others compare units of one group."""

__all__ = ["IMPORTANCES", "IN_LOSS", "Evidence", "Gathered", "Importance", "Moments", "Scores", "register"]
