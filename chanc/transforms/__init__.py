"""Graph-to-graph functions, each in place and one a file.

Norms are put in, taken out and recovered, layouts turned, batches opened, halves and integers made floats, pixels
normalised, shrunken layers refitted to the original.
"""

from __future__ import annotations

from chanc.transforms.bake_input import bake_input
from chanc.transforms.channels_first import channels_first
from chanc.transforms.float_masters import Master, float_masters, in_floats
from chanc.transforms.fold_batchnorm import fold_batchnorm
from chanc.transforms.fold_constants import fold_constants
from chanc.transforms.full_precision import full_precision
from chanc.transforms.insert_batchnorm import insert_batchnorm
from chanc.transforms.open_batch import open_batch
from chanc.transforms.recover_affine import KnownNorm, recover_affine
from chanc.transforms.recover_groupnorm import Recovered, recover_groupnorm
from chanc.transforms.recovery import Reconstruction, Refit, reconstruct

__all__ = [
    "KnownNorm",
    "Master",
    "Reconstruction",
    "Recovered",
    "Refit",
    "bake_input",
    "channels_first",
    "float_masters",
    "fold_batchnorm",
    "fold_constants",
    "full_precision",
    "in_floats",
    "insert_batchnorm",
    "open_batch",
    "reconstruct",
    "recover_affine",
    "recover_groupnorm",
]
