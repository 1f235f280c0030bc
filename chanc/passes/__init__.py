"""The compiler's passes, one a file: each takes an onnx_ir.Model, changes it, and says whether it did.

They are `onnx_ir.passes` passes, so they run unchanged in any pipeline made of those (Olive, onnxscript, torch.onnx).
Each checks what it needs before and that it leaves a legal graph. Called by hand they take a `ModelProto` or a
`gs.Graph` as well, and give a new one of the same kind back. The work is done by functions of `chanc.ir`,
`chanc.analysis`, `chanc.rewriter` and `chanc.transforms`.
"""

from __future__ import annotations

from chanc.passes.base import Pass
from chanc.passes.channels_first import ChannelsFirst
from chanc.passes.find_groups import FindGroups
from chanc.passes.fold_batchnorm import FoldBatchNorm
from chanc.passes.fold_shapes import FoldShapes
from chanc.passes.infer_shapes import InferShapes
from chanc.passes.insert_batchnorm import InsertBatchNorm
from chanc.passes.normalize import Normalize
from chanc.passes.recover_affine import RecoverAffine
from chanc.passes.recover_groupnorm import RecoverGroupNorm, RecoverResult
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
]
