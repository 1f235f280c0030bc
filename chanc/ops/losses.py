"""Losses (ONNX SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss): the weights of classes are given, not trained."""

from __future__ import annotations

from chanc.ops.table import operator
from chanc.ops.work import free

operator("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", traits=(), weights=(), divisors=(), work=free)
