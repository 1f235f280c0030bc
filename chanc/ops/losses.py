"""Losses (ONNX SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss): the weights of classes are given, not trained."""

from __future__ import annotations

from chanc.ops.table import operator

operator("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", traits=(), weights=(), divisors=())
