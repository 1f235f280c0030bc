"""Training of an ONNX classifier: its graph becomes a module, trains, and takes the weights back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import Built, build
from chanc.cost.cost import cost
from chanc.data.batches import Batches
from chanc.data.dataset import Dataset
from chanc.errors import DataError, ModelError
from chanc.ir import copy_model
from chanc.ir.normalize import normalize
from chanc.training.devices import pick_device
from chanc.training.distributed import processes, train_together
from chanc.training.evaluation import check_outputs, evaluate, outputs
from chanc.training.options import TrainOptions
from chanc.training.records import TrainResult
from chanc.training.trainer import OnEpoch, OnStep, train
from chanc.transforms import channels_first, insert_batchnorm, recover_affine

CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 64


@dataclass(frozen=True)
class Trained:
    """What came of a training: top-1 (0..1) of the model as it came, params, and the trainer's result."""

    before: float
    params: int
    result: TrainResult


def train_classifier(
    model: ir.Model,
    dataset: Dataset,
    options: TrainOptions,
    *,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train the values of `model`, in place, on images of its input size (`fit`); its graph stays as it is.

    A last Softmax is left out while training, because the loss has its own, and a graph that keeps channels last is
    computed channels first. Under torchrun, within
    `chanc.training.distributed.joined`, all processes train together. Callbacks and checkpoint are those of
    `chanc.training.trainer.train`.

    Raises: ModelError for a model that PyTorch can't express or run on batches; and what `train` raises.
    """
    twin = copy_model(model)
    normalize(twin)
    _end_before_softmax(twin)
    infer_shapes(twin)
    built = _built_channels_first(twin, model) or build(twin)
    before = _top1(built.module, dataset, options, _image_input(model))
    run = train_together if processes() > 1 else train
    result = run(built.module, dataset, options, on_step=on_step, on_epoch=on_epoch, checkpoint=checkpoint)
    built.write_back(model)
    return Trained(before, cost(twin).params, result)


def fit(model: ir.Model, data: Dataset) -> Dataset:
    """The data at the model's input size.

    Raises: DataError where the model's output has other classes than the data; ModelError where it takes no images.
    """
    value = _image_input(model)
    if not model.graph.outputs:
        raise ModelError("training needs a model with an output")
    shape = model.graph.outputs[0].shape
    classes = shape[-1] if shape is not None and len(shape) == 2 else None
    if isinstance(classes, int) and classes != data.classes:
        raise DataError(f"the model has {classes} classes, the data set {data.name} has {data.classes}")
    wanted = zip(list(value.shape or ())[1:], data.shape, strict=True)
    return data.fit_to(*(want if isinstance(want, int) else have for want, have in wanted))


def recover_norms(model: ir.Model, dataset: Dataset) -> bool:
    """BatchNorm in place of decomposed ones and behind bare convolutions, with statistics of the training images.

    In place; the function stays the same. Says whether anything changed.
    """
    batches = list(_calibration(_image_input(model), dataset))
    recovered = recover_affine(model, batches)
    return insert_batchnorm(model, batches) or recovered


def _calibration(value: ir.Value, dataset: Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Some training images as the model takes them, in batches of its own size where that is fixed."""
    fixed = _fixed_batch(value)
    part = dataset.limit(train=CALIBRATION_IMAGES)
    images = torch.tensor(part.train_images)
    batches = Batches(images, torch.tensor(part.train_labels), fixed or CALIBRATION_BATCH, dataset.mean, dataset.std)
    kind = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    for batch, _ in batches:
        if fixed in (None, len(batch)):
            yield {value.name or "": batch.contiguous().numpy().astype(kind)}


def _image_input(model: ir.Model) -> ir.Value:
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    if len(inputs) != 1 or inputs[0].shape is None or len(inputs[0].shape) != 4:
        raise ModelError("training needs a model with one input of images [N, C, H, W]")
    return inputs[0]


def _fixed_batch(value: ir.Value) -> int | None:
    size = value.shape[0] if value.shape is not None else None
    return size if isinstance(size, int) and size > 0 else None


def _end_before_softmax(model: ir.Model) -> None:
    """Make the input of a last Softmax or LogSoftmax the main output: it has the same top-1."""
    output = model.graph.outputs[0]
    node = output.producer()
    if node is None or node.op_type not in ("Softmax", "LogSoftmax") or node.domain not in ("", "ai.onnx"):
        return
    logits = node.inputs[0]
    if logits is None or logits.producer() is None or logits.is_graph_output():
        return
    logits.type, logits.shape = output.type, output.shape
    model.graph.outputs[0] = logits


def _built_channels_first(twin: ir.Model, model: ir.Model) -> Built | None:
    """The module of the twin without Transposes inside; None where that changes nothing, or `model` isn't found back.

    Raises: ModelError for a model that PyTorch can't express.
    """
    moved = copy_model(twin)
    # Vectors that become [C, 1, 1] are written back as they are; the numbers of other weights must keep their order.
    if not channels_first(moved, reorder=False):
        return None
    built = build(moved)
    try:
        built.write_back(copy_model(model))
    except ModelError:
        return None
    return built


def _top1(module: nn.Module, dataset: Dataset, options: TrainOptions, value: ir.Value) -> float:
    """Top-1 of the module as it is. Raises: ModelError where it can't run on a batch of several images."""
    device = pick_device(options.device)
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = (torch.tensor(array).to(device) for array in (dataset.test_images, dataset.test_labels))
    try:
        with torch.no_grad():
            found = outputs(module(images[:3].float()))
    except (RuntimeError, ValueError) as error:
        fixed = _fixed_batch(value)
        why = f"its batch is fixed to {fixed}, export it with a dynamic batch" if fixed else str(error).splitlines()[0]
        raise ModelError(f"the model can't be run on a batch of images: {why}") from error
    for output in found:
        check_outputs(output, dataset.classes, dataset.name)
    amp = options.amp and device.type == "cuda"
    return evaluate(module, images, labels, dataset.mean, dataset.std, amp=amp).top1
