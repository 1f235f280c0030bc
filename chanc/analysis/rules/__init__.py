"""What each operator does to channels: one file an operator family.

A rule is a function of a `Context`: a node and what is known around it. It reads the layouts of its node's inputs,
reports which labels are one channel or must go together, and sets the layouts of the outputs. It raises `Opaque` where
it does not understand the node: then all channels that enter are pinned, with that reason. Families know nothing of one
another; what several need stands beside this folder.

In which order copies of a unit stand on an axis follows from how it is cut into factors (`chanc.analysis.order`). A
rule that cuts one says so: it reshapes layouts by `Context.reshaped`, notes rows and columns of labels by
`Context.cut`, and lines of labels that are resized alike by `Context.beside`.
"""

from __future__ import annotations

from collections.abc import Callable

from chanc.analysis.context import Context
from chanc.registry import Operators

AnalysisRule = Callable[[Context], None]
REGISTRY: Operators[AnalysisRule] = Operators("analysis rule", "chanc.ops", "chanc.analysis.rules")
rule = REGISTRY.rule
