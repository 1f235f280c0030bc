"""ONNX from TensorFlow by tf2onnx, as the analysis needs it: BatchNorm not folded, constants no inputs.

Runs in a worker: TensorFlow is imported inside the functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError
from chanc.frontends.foreign import Job, Written, require

if TYPE_CHECKING:
    from onnx import ModelProto


def write_function(function: Callable[..., Any], signature: Sequence[Any], path: Path, opset: int | None) -> None:
    """Write a function of tensors; signature: a `tf.TensorSpec` for each."""
    import tensorflow as tf
    import tf2onnx

    traced = tf.function(function, input_signature=list(signature))
    with unfolded():
        proto, _ = tf2onnx.convert.from_function(traced, list(signature), opset=opset)
    _hold_captured(proto, traced.get_concrete_function(*signature))
    write(proto, path)


def saved_model(job: Job) -> Written:
    """Write the serving signature of a SavedModel.

    Its layers are not known: norms are found in its arithmetic alone. Raises ChancError where it serves nothing.
    """
    require(tensorflow="tensorflow-cpu", tf2onnx="tf2onnx")
    import tensorflow as tf

    loaded = tf.saved_model.load(job.target)
    if "serving_default" not in loaded.signatures:
        raise ChancError(f"{job.target} has no serving signature")
    serve = loaded.signatures["serving_default"]
    specs = list(serve.structured_input_signature[1].values())

    def function(*inputs: Any) -> list[Any]:
        return list(serve(**{spec.name: given for spec, given in zip(specs, inputs, strict=True)}).values())

    examples = job.examples([tuple(spec.shape) for spec in specs])
    signature = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name=spec.name) for spec in specs]
    write_function(function, signature, job.path, job.opset)
    answer = [output.numpy() for output in function(*map(tf.constant, examples))]
    return Written(examples, answer, ("tensorflow", "tf2onnx"))


def write(proto: ModelProto, path: Path) -> None:
    """Write what tf2onnx made, in ONNX's own operators."""
    _write_erfc_out(proto)
    path.write_bytes(proto.SerializeToString())


@contextlib.contextmanager
def unfolded() -> Iterator[None]:
    """Without what pushes the factors of a BatchNorm into convolutions.

    That is TensorFlow's constant folding, and two of tf2onnx's optimisers, which also move Transposes: chanc does.
    """
    from tf2onnx import optimizer, tf_loader

    grappler, optimizers = tf_loader.tf_optimize_grappler, optimizer._get_optimizers
    folding = ("optimize_transpose", "remove_back_to_back")
    kept = {name: one for name, one in optimizers().items() if name not in folding}
    tf_loader.tf_optimize_grappler = lambda inputs, outputs, graph_def: graph_def
    optimizer._get_optimizers = lambda: kept
    try:
        yield
    finally:
        tf_loader.tf_optimize_grappler, optimizer._get_optimizers = grappler, optimizers


def _hold_captured(proto: ModelProto, concrete: Any) -> None:
    """Tensors that a function took from around it (Keras' constants of a normalisation) are no inputs."""
    from onnx import numpy_helper

    names = [tensor.name for tensor in concrete.inputs]
    captured = zip(names[len(names) - len(concrete.captured_inputs) :], concrete.captured_inputs, strict=True)
    held = {name: tensor for name, tensor in captured if hasattr(tensor, "numpy")}
    for value in [value for value in proto.graph.input if value.name in held]:
        proto.graph.initializer.append(numpy_helper.from_array(held[value.name].numpy(), value.name))
        proto.graph.input.remove(value)


def _write_erfc_out(proto: ModelProto) -> None:
    """Keras' GELU has an operator that ONNX doesn't: erfc(x) = 1 - erf(x)."""
    from onnx import TensorProto, helper

    nodes = []
    for node in proto.graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        result = node.output[0]
        one = helper.make_tensor(f"{result}.one", TensorProto.FLOAT, [], [1.0])
        proto.graph.initializer.append(one)
        nodes.append(helper.make_node("Erf", [node.input[0]], [f"{result}.erf"]))
        nodes.append(helper.make_node("Sub", [one.name, f"{result}.erf"], [result]))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
