"""`keras:PACKAGE.MODULE:FACTORY`, `keras:FILE.keras` or `keras:FOLDER`: a model of Keras 3, or a SavedModel.

On TensorFlow, torch or JAX, as KERAS_BACKEND or Keras' own settings say; a SavedModel needs TensorFlow. Each has an
exporter of its own, and all write BatchNorm as arithmetic: the model tells its norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.frontends.factories import made
from chanc.frontends.foreign import Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS
from chanc.frontends.tensorflow import saved_model, write_function

if TYPE_CHECKING:
    from chanc.frontends.foreign import Array


def write(job: Job) -> Written:
    """Write a model of Keras, in inference."""
    if Path(job.target).is_dir():
        return saved_model(job)
    require(keras="keras")
    import keras

    keras.utils.set_random_seed(job.seed)
    model = _model(job)
    examples = job.examples([tuple(one.shape) for one in model.inputs])
    # A functional model can't be exported before it was called.
    outputs = keras.tree.flatten(model(_packed(examples), training=False))
    package = {"tensorflow": _by_tensorflow, "torch": _by_torch, "jax": _by_jax}[keras.backend.backend()](model, job)
    answer = [keras.ops.convert_to_numpy(output) for output in outputs]
    return Written(examples, answer, ("keras", package), norms=_norms(model), contract=_contract(model))


def _model(job: Job) -> Any:
    import keras

    if job.target.endswith((".keras", ".h5")):
        return keras.models.load_model(job.target, compile=False)
    return made("keras", job.target, job.options, keras.Model, "a keras.Model")


def _packed(inputs: Any) -> Any:
    """Inputs as a model is called with them."""
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _by_tensorflow(model: Any, job: Job) -> str:
    require(tensorflow="tensorflow-cpu", tf2onnx="tf2onnx")
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *one.shape[1:]), one.dtype, name=one.name) for one in model.inputs]
    write_function(lambda *inputs: model(_packed(inputs), training=False), signature, job.path, job.opset)
    return "tf2onnx"


def _by_torch(model: Any, job: Job) -> str:
    require(onnx="onnx")
    import onnx
    import torch

    from chanc.frontends.exporters import EXPORTERS, Request

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.model(_packed(inputs), training=False)

    inputs = tuple(map(torch.from_numpy, job.examples([tuple(one.shape) for one in model.inputs])))
    names = tuple(one.name for one in model.inputs), tuple(f"output_{k}" for k in range(len(model.outputs)))
    with torch.no_grad():
        proto = EXPORTERS["torchscript"](Request(Flat().eval(), inputs, *names, True, job.opset))
    onnx.save(proto, job.path)
    return "torch"


def _by_jax(model: Any, job: Job) -> str:
    from chanc.frontends import jax

    shapes = [one.shape[1:] for one in model.inputs]
    jax.write_function(lambda *inputs: model(_packed(inputs), training=False), shapes, job)
    return "jax2onnx"


def _norms(model: Any) -> list[Mapping[str, Array | float]]:
    import keras

    return [_norm(layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def _norm(layer: Any) -> Mapping[str, Array | float]:
    import numpy as np

    count = layer.moving_mean.shape[0]
    scale = layer.gamma if layer.scale else np.ones(count, np.float32)
    bias = layer.beta if layer.center else np.zeros(count, np.float32)
    vectors = {"scale": scale, "bias": bias, "mean": layer.moving_mean, "variance": layer.moving_variance}
    return {**{name: np.asarray(value) for name, value in vectors.items()}, "epsilon": layer.epsilon}


def _contract(model: Any) -> dict[str, str]:
    """The layout of images, and that pixels go in as they are where the model scales them itself."""
    import keras

    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return {}
    layout = "NHWC" if keras.config.image_data_format() == "channels_last" else "NCHW"
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    raw = any(isinstance(layer, scaling) for layer in model.layers[:3])
    return {"layout": layout, **({"scale": "1.0", "mean": "0.0", "std": "1.0"} if raw else {})}


FRONTENDS.add(
    "keras",
    Foreign(write, "keras:PACKAGE.MODULE:FACTORY"),
    help="A model of Keras 3, on TensorFlow, torch or JAX: of a factory, a .keras file or a SavedModel.",
)
