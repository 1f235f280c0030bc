"""`quality`: rank R, condition kappa and quality of convergence QC in both modes, by which search methods decide."""

from __future__ import annotations

from chanc.metrics.registry import Figures, Weights, register


@register("quality")
def quality(weights: Weights) -> Figures:
    """Rank, condition and QC of each layer's in and out mode (CONet; CONetV2)."""
    values = {name: one.as_dict() for name, one in weights.qualities.items()}
    return {
        name: {f"{mode}_{what}": one[f"{mode}_{what}"] for what in ("rank", "kappa", "qc") for mode in ("in", "out")}
        for name, one in values.items()
    }
