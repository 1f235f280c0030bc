"""Changing widths: a plan, what follows from it for every operand, and the weights' new values.

half = rewrite("model.onnx", scale=0.5)
chanc.save(half.model, "half.onnx")
"""

from __future__ import annotations

from chanc.rewriter.importance import IMPORTANCES
from chanc.rewriter.rewrite import Rewrite, rewrite
from chanc.rewriter.trace import Trace
from chanc.rewriter.transfer import TRANSFERS

__all__ = ["IMPORTANCES", "TRANSFERS", "Rewrite", "Trace", "rewrite"]
