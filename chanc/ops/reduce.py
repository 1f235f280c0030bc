"""Reductions, cumulative sums and searches along axes (ONNX Reduce*, ArgMax, ArgMin, CumSum, CumProd, TopK)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator

operator(
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
    traits={Trait.REDUCTION}, weights=(), divisors=(),
)  # fmt: skip
operator(
    "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare",
    traits={Trait.REDUCTION, Trait.CURVED}, weights=(), divisors=(),
)  # fmt: skip
operator("ArgMax", "ArgMin", traits=(), weights=(), divisors=())
operator("CumSum", traits={Trait.RANK}, weights=(), divisors=())
operator("CumProd", traits={Trait.RANK, Trait.CURVED}, weights=(), divisors=())
operator("TopK", traits={Trait.RANK}, weights=(), divisors=())
