"""The compiler's passes, one a file: each takes an onnx_ir.Model, changes it, and says whether it did.

They are `onnx_ir.passes` passes, so they run unchanged in any pipeline made of those (Olive, onnxscript, torch.onnx).
Called by hand they take a `ModelProto` or a `gs.Graph` as well, and give a new one of the same kind back.
"""

from __future__ import annotations

from chanc.passes.base import Pass
from chanc.passes.channels_first import ChannelsFirst, channels_first
from chanc.passes.find_groups import FindGroups
from chanc.passes.fold_batchnorm import FoldBatchNorm, fold_batchnorm
from chanc.passes.fold_shapes import FoldShapes
from chanc.passes.infer_shapes import InferShapes, infer_shapes
from chanc.passes.insert_batchnorm import InsertBatchNorm, insert_batchnorm
from chanc.passes.normalize import Normalize, normalize
from chanc.passes.recover_affine import RecoverAffine, recover_affine
from chanc.passes.recover_groupnorm import RecoverGroupNorm, RecoverResult, recover_groupnorm
from chanc.passes.resize_widths import ResizeWidths

__all__ = [
    "ChannelsFirst",
    "FindGroups",
    "FoldBatchNorm",
    "FoldShapes",
    "InferShapes",
    "InsertBatchNorm",
    "Normalize",
    "Pass",
    "RecoverAffine",
    "RecoverGroupNorm",
    "RecoverResult",
    "ResizeWidths",
    "channels_first",
    "fold_batchnorm",
    "infer_shapes",
    "insert_batchnorm",
    "normalize",
    "recover_affine",
    "recover_groupnorm",
]
