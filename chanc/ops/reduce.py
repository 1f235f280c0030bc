"""Reductions, cumulative sums and searches along axes (ONNX Reduce*, ArgMax, ArgMin, CumSum, CumProd, TopK)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free, spatial_mean

operator("ReduceMean", "ReduceMax", traits={Trait.REDUCTION}, weights=(), divisors=(), work=spatial_mean)
operator("ReduceMin", traits={Trait.REDUCTION}, weights=(), divisors=(), work=free)
operator(
    "ReduceL1", "ReduceL2", "ReduceSum",
    traits={Trait.REDUCTION, Trait.TOTAL, Trait.SUM}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator(
    "ReduceSumSquare",
    traits={Trait.REDUCTION, Trait.TOTAL, Trait.SUM, Trait.CURVED}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator(
    "ReduceLogSumExp", "ReduceProd",
    traits={Trait.REDUCTION, Trait.TOTAL, Trait.CURVED}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator(
    "ReduceLogSum", traits={Trait.REDUCTION, Trait.TOTAL, Trait.CURVED, Trait.PARTIAL},
    weights=(), divisors=(), work=free,
)  # fmt: skip
operator("ArgMax", "ArgMin", traits=(), weights=(), divisors=(), work=free)
operator("CumSum", traits={Trait.RANK}, weights=(), divisors=(), work=free)
operator("CumProd", traits={Trait.RANK, Trait.CURVED}, weights=(), divisors=(), work=free)
operator("TopK", traits={Trait.RANK}, weights=(), divisors=(), work=free)
