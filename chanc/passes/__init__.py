"""The compiler's passes, one a file: each takes an onnx_ir.Model, changes it, and says whether it did.

They are `onnx_ir.passes` passes, so they run unchanged in any pipeline made of those (Olive, onnxscript, torch.onnx).
"""

from __future__ import annotations

from chanc.passes.fold_shapes import FoldShapes
from chanc.passes.infer_shapes import InferShapes, infer_shapes
from chanc.passes.normalize import Normalize, normalize

__all__ = ["FoldShapes", "InferShapes", "Normalize", "infer_shapes", "normalize"]
