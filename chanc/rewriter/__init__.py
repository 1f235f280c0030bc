"""Changing widths: a plan, what follows from it for every operand, and the weights' new values.

half = rewrite("model.onnx", scale=0.5)
chanc.save(half.model, "half.onnx")
"""

from __future__ import annotations

from chanc.rewriter.rewrite import Rewrite, rewrite
from chanc.rewriter.trace import Trace
from chanc.rewriter.transfer import METHODS as TRANSFERS

__all__ = ["TRANSFERS", "Rewrite", "Trace", "rewrite"]
