"""The one input of images that a model has, and training images as it takes them, for calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from chanc.data.dataset import Dataset
from chanc.errors import ModelError
from chanc.transforms import insert_batchnorm, recover_affine

CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 64


def image_input(model: ir.Model) -> ir.Value:
    """The model's input [N, C, H, W]. Raises: ModelError where it has another one, or several."""
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    if len(inputs) != 1 or inputs[0].shape is None or len(inputs[0].shape) != 4:
        raise ModelError("training needs a model with one input of images [N, C, H, W]")
    return inputs[0]


def fixed_batch(value: ir.Value) -> int | None:
    """The batch size that an input insists on; None where it is open."""
    size = value.shape[0] if value.shape is not None else None
    return size if isinstance(size, int) and size > 0 else None


def recover_norms(model: ir.Model, dataset: Dataset) -> bool:
    """BatchNorm in place of decomposed ones and behind bare convolutions, with statistics of the training images.

    In place; the function stays the same. Says whether anything changed.
    """
    batches = list(_calibration(image_input(model), dataset))
    recovered = recover_affine(model, batches)
    return insert_batchnorm(model, batches) or recovered


def _calibration(value: ir.Value, dataset: Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Some training images as the model takes them, in batches of its own size where that is fixed."""
    import torch

    from chanc.data.batches import Batches

    fixed = fixed_batch(value)
    part = dataset.limit(train=CALIBRATION_IMAGES)
    images = torch.tensor(part.train_images)
    batches = Batches(images, torch.tensor(part.train_labels), fixed or CALIBRATION_BATCH, dataset.mean, dataset.std)
    kind = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    for batch, _ in batches:
        if fixed in (None, len(batch)):
            yield {value.name or "": batch.contiguous().numpy().astype(kind)}
