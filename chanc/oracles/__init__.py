"""The judges of a rewrite: what it must compute, found without any rule of chanc.

Shrink: the rewritten model equals the original with every dropped slice zeroed. Widen: with `transfer="widen"` the
rewritten model equals the original. Both run in onnxruntime without graph optimisation, on random inputs.
"""

from __future__ import annotations

from chanc.oracles.compare import TOLERANCE, Difference, compare
from chanc.oracles.outputs import differences
from chanc.oracles.shrink_widen import check_shrink, check_widen
from chanc.oracles.zeroed import zeroed

__all__ = ["TOLERANCE", "Difference", "check_shrink", "check_widen", "compare", "differences", "zeroed"]
