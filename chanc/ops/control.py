"""Control flow (ONNX If, Loop, Scan): what is computed stands in the nodes of their bodies."""

from __future__ import annotations

from chanc.ops.table import operator
from chanc.ops.work import free

operator("If", "Loop", "Scan", traits=(), weights=(), divisors=(), work=free)
