"""Losses (ONNX SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss): classes keep their number, a batch its size."""

from __future__ import annotations

from chanc.analysis.layout import plain
from chanc.analysis.rules import rule
from chanc.analysis.rules.vision import fixed, unlabelled
from chanc.analysis.sweep import Sweep


@rule("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
def loss(sweep: Sweep) -> None:
    """Scores [N, C, ...], labels [N, ...] and weights [C] -> a number or [N, ...], and the logarithms [N, C, ...]."""
    assert sweep.node is not None
    reason = "a loss is taken over it"
    scores = sweep.input(0)
    scores = fixed(sweep, scores, range(scores.rank), reason)
    for index in (1, 2):
        unlabelled(sweep, index, reason)
    whole = sweep.attribute("reduction", "mean") == "none"
    sweep.output(plain([scores.size(0), *scores.sizes[2:]] if whole else [], "a loss"))
    if len(sweep.node.outputs) > 1:
        sweep.output(scores, 1)
