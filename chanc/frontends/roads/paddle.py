"""`paddle:PACKAGE.MODULE:FACTORY`: a layer of PaddlePaddle, by paddle2onnx.

paddle2onnx needs an onnx of 1.17 at most, which chanc can't share: name an interpreter that has both by --python.
"""

from __future__ import annotations

from typing import Any

from chanc.frontends.factories import made
from chanc.frontends.foreign import Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS


def write(job: Job) -> Written:
    """Write a layer, in evaluation."""
    require(paddle="paddlepaddle", paddle2onnx="paddle2onnx")
    import paddle
    import paddle2onnx  # noqa: F401  (it is what paddle.onnx calls)

    paddle.set_device("cpu")
    paddle.seed(job.seed)
    layer: Any = made("paddle", job.target, job.options, paddle.nn.Layer, "a paddle.nn.Layer")
    layer.eval()
    examples = job.examples(())  # a layer doesn't tell its input
    with paddle.no_grad():
        outputs = layer(*map(paddle.to_tensor, examples))
    flat = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    shapes = [[None, *array.shape[1:]] for array in examples]
    specs = [paddle.static.InputSpec(shape, "float32", f"x{k}") for k, shape in enumerate(shapes)]
    paddle.onnx.export(layer, str(job.path.with_suffix("")), input_spec=specs, opset_version=job.opset or 17)
    layout = {"layout": "NCHW"} if [array.ndim for array in examples] == [4] else {}
    return Written(examples, [output.numpy() for output in flat], ("paddle", "paddle2onnx"), contract=layout)


FRONTENDS.add("paddle", Foreign(write, "paddle:PACKAGE.MODULE:FACTORY"), help="A layer of PaddlePaddle.")
