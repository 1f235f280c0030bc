"""The judges of a rewrite: what it must compute, found without any rule of chanc.

Shrink: the rewritten model equals the original with every dropped slice zeroed. Widen: with `transfer="widen"` the
rewritten model equals the original. Edges: the lowered model equals the original with the columns zeroed that consumers
don't keep. Doubled: where norms across channels see a change of widths, twice each channel
equals the original. All run in onnxruntime without graph optimisation, in float32; what disagrees there goes on to
float64. `judge` knows which is for what.
"""

from __future__ import annotations

from chanc.oracles.compare import TOLERANCE, Difference, compare
from chanc.oracles.doubled import doubled
from chanc.oracles.judge import judge
from chanc.oracles.outputs import differences
from chanc.oracles.pair import Pairing, pairing
from chanc.oracles.shrink_widen import check_edges, check_shrink, check_widen
from chanc.oracles.verdict import Finding, Verdict
from chanc.oracles.zeroed import zeroed

__all__ = [
    "TOLERANCE", "Difference", "Finding", "Pairing", "Verdict", "check_edges", "check_shrink", "check_widen", "compare",
    "differences", "doubled", "judge", "pairing", "zeroed",
]  # fmt: skip
