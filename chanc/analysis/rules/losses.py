"""Losses (ONNX SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss): classes keep their number, a batch its size."""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.layout import plain
from chanc.analysis.operands import fixed, unlabelled
from chanc.analysis.rules import rule


@rule("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
def loss(context: Context) -> None:
    """Scores [N, C, ...], labels [N, ...] and weights [C] -> a number or [N, ...], and the logarithms [N, C, ...]."""
    reason = "a loss is taken over it"
    scores = context.input(0)
    scores = fixed(context, scores, range(scores.rank), reason)
    for index in (1, 2):
        unlabelled(context, index, reason)
    whole = context.attribute("reduction", "mean") == "none"
    context.output(plain([scores.size(0), *scores.sizes[2:]] if whole else [], "a loss"))
    if len(context.node.outputs) > 1:
        context.output(scores, 1)
