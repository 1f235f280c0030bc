"""Recovery without labels: layers of a shrunken model refitted to the original in closed form.

    layers    which layers, and what lies behind each          targets   what the original makes there
    frontier  the rewritten model, run from layer to layer     rows      what a layer reads: [rows, unknowns]
    ridge     the regression, judged on rows held out          write     its result, put into weight, bias and norm
"""

from __future__ import annotations

from chanc.transforms.recovery.reconstruct import Reconstruction, Refit, reconstruct

__all__ = ["Reconstruction", "Refit", "reconstruct"]
