"""`tflite:FILE.tflite`: a network of TensorFlow Lite, by tf2onnx. Its batch of one becomes an open one where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError
from chanc.files import open_regular
from chanc.frontends.foreign import Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write(job: Job) -> Written:
    """Write a .tflite file of float inputs."""
    open_regular(job.target).close()
    require(tensorflow="tensorflow-cpu", tf2onnx="tf2onnx")
    import numpy as np
    import tensorflow as tf
    import tf2onnx

    from chanc.frontends import tensorflow

    network = tf.lite.Interpreter(model_path=job.target)
    details = network.get_input_details()
    for detail in details:
        if (kind := np.dtype(detail["dtype"])) != np.float32:
            raise ChancError(f"{job.target} takes {kind}, and only networks of floats can be trained")
    shapes = [tuple(map(int, detail["shape"])) for detail in details]
    examples = job.examples(shapes)
    with tensorflow.unfolded():
        proto, _ = tf2onnx.convert.from_tflite(job.target, opset=job.opset)
    if left := sorted({node.op_type for node in proto.graph.node if node.op_type.startswith("TFL_")}):
        raise ChancError(f"tf2onnx has no ONNX for {', '.join(left)}")
    tensorflow.write(proto, job.path)
    layout = {"layout": "NHWC"} if [len(shape) for shape in shapes] == [4] else {}
    return Written(examples, _answer(network, examples), ("tensorflow", "tf2onnx"), contract=layout)


def _answer(network: Any, examples: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """What the interpreter computes, sample by sample: most files have a batch of one."""
    import numpy as np

    network.allocate_tensors()
    rows = []
    for sample in zip(*examples, strict=True):
        for detail, array in zip(network.get_input_details(), sample, strict=True):
            network.set_tensor(detail["index"], array[None])
        network.invoke()
        rows.append([network.get_tensor(detail["index"]) for detail in network.get_output_details()])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


FRONTENDS.add("tflite", Foreign(write, "tflite:FILE.tflite"), help="A file of TensorFlow Lite.")
