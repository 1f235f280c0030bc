"""What each operator does to channels: one file an operator family.

A rule is a function of the sweep. It reads the layouts of its node's inputs, reports which labels are one channel or
must go together, and sets the layouts of the outputs. It raises `Opaque` where it does not understand the node: then
all channels that enter are pinned, with that reason.

In which order copies of a unit stand on an axis follows from how it is cut into factors (`chanc.analysis.order`). A
rule that cuts one says so: it reshapes layouts by `Sweep.reshaped`, notes rows and columns of labels by `Sweep.cut`,
and lines of labels that are resized alike by `Sweep.beside`.
"""

from __future__ import annotations

from collections.abc import Callable

from chanc.analysis.sweep import Sweep
from chanc.registry import Operators

AnalysisRule = Callable[[Sweep], None]
REGISTRY: Operators[AnalysisRule] = Operators("analysis rule", "chanc.ops", "chanc.analysis.rules")
rule = REGISTRY.rule
