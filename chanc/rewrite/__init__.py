"""Changing widths: a plan, what follows from it for every operand, and the weights' new values.

half = rewrite("model.onnx", scale=0.5)
chanc.save(half.model, "half.onnx")
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from chanc.rewrite.rewrite import Rewrite, rewrite
from chanc.rewrite.trace import Trace
from chanc.rewrite.transfer import METHODS as TRANSFERS

__all__ = ["TRANSFERS", "Rewrite", "Trace", "rewrite"]


class _Callable(ModuleType):
    """`chanc.rewrite` is this package once anything of it was imported, and the documented call all the same."""

    def __call__(self, *args: Any, **options: Any) -> Rewrite:
        return rewrite(*args, **options)


sys.modules[__name__].__class__ = _Callable
