"""The one input of images that a model has, its layout, and images as it takes them, also for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from chanc.analysis.run import visit_model
from chanc.data import Data, Samples
from chanc.data.contract import InputContract, Layout, recorded_layout, recorded_order
from chanc.data.dataset import Dataset
from chanc.errors import ModelError
from chanc.ir import copy_model
from chanc.ir.normalize import normalize
from chanc.ir.turns import Turns
from chanc.ops import Trait, has
from chanc.transforms import insert_batchnorm, recover_affine

CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 64


def image_input(model: ir.Model) -> ir.Value:
    """The model's input, [N, C, H, W] or [N, H, W, C]. Raises: ModelError where it has another one, or several."""
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    if len(inputs) != 1 or inputs[0].shape is None or len(inputs[0].shape) != 4:
        raise ModelError("training needs a model with one input of images [N, C, H, W]")
    return inputs[0]


def layout_of(model: ir.Model) -> Layout:
    """Which axis of the image input holds the channels: as the metadata says, or the operators that read channels.

    Where none does (all is flattened first), the axis of the size 1 or 3. Raises: ModelError where nothing tells.
    """
    value = image_input(model)
    named = recorded_layout(model.metadata_props)
    if named is not None:
        return named
    axis = _axis_read(model) or _axis_of_colours(value)
    if axis not in (1, 3):
        shape = ", ".join(str(size) for size in value.shape or ())
        raise ModelError(f"which axis of the input '{value.name}' [{shape}] holds the channels can't be told: "
                         "chanc trains on images [N, C, H, W] or [N, H, W, C]")  # fmt: skip
    return "NCHW" if axis == 1 else "NHWC"


def _axis_read(model: ir.Model) -> int | None:
    """The axis of the image input that the first operator which reads channels, on its axis 1, finds them on."""
    twin = copy_model(model)
    # Each axis gets a size of its own name, which the analysis carries to wherever the axis goes.
    names = [f"pixels.{axis}" for axis in (1, 2, 3)]
    image_input(twin).shape = ir.Shape(["batch", *names])
    normalize(twin)
    layouts = visit_model(twin).layouts
    for node in twin.graph:
        layout = layouts.get(node.inputs[0]) if _reads_channels(node) and node.inputs[0] is not None else None
        if layout is None or layout.rank != len(names) + 1:
            continue
        channels, others = str(layout.size(1)), f"{layout.size(2)} {layout.size(3)}"
        # A constant of one number a channel gives the axis its size, and takes it its name.
        found = [name for name in names if name == channels] or [name for name in names if name not in others]
        return names.index(found[0]) + 1 if len(found) == 1 else None
    return None


def _reads_channels(node: ir.Node) -> bool:
    """Whether a node's operator knows axis 1 as that of the channels: a convolution, or a norm by channel."""
    return has(node, Trait.CONVOLUTION) or (has(node, Trait.NORM) and has(node, Trait.CHANNELWISE))


def _axis_of_colours(value: ir.Value) -> int | None:
    """The axis, first or last of a pixel's, that alone of the two has the size of grey or colour."""
    sizes = list(value.shape or ())
    found = [axis for axis in (1, 3) if sizes[axis] in (1, 3)]
    return found[0] if len(found) == 1 else None


def fixed_size(model: ir.Model) -> tuple[int, int, int] | None:
    """Channels (1 or 3), height and width of the images that a model insists on; None where it leaves any open."""
    try:
        sizes = list(image_input(model).shape or ())[1:]
        ordered = sizes if layout_of(model) == "NCHW" else [sizes[2], *sizes[:2]]
    except ModelError:
        return None
    known = [size for size in ordered if isinstance(size, int) and size > 0]
    return (known[0], known[1], known[2]) if len(known) == 3 and known[0] in (1, 3) else None


def fit_images(model: ir.Model, data: Dataset) -> Dataset:
    """The images at the model's input size and in its layout, standardised.

    Raises: ModelError where it takes no images, DataError for channels that no rule leads to.
    """
    value, layout = image_input(model), layout_of(model)
    sizes = list(value.shape or ())[1:]
    wanted = zip(sizes if layout == "NCHW" else [sizes[2], *sizes[:2]], data.shape, strict=True)
    fitted = data.fit_to(*(want if isinstance(want, int) else have for want, have in wanted))
    own = InputContract(1 / 255, fitted.mean, fitted.std, layout)
    return replace(fitted, contract=own.blue_first() if recorded_order(model.metadata_props) == "BGR" else own)


def fixed_batch(value: ir.Value) -> int | None:
    """The batch size that an input insists on; None where it is open."""
    size = value.shape[0] if value.shape is not None else None
    return size if isinstance(size, int) and size > 0 else None


def recover_norms(model: ir.Model, data: Data) -> bool:
    """BatchNorm in place of decomposed ones and behind bare convolutions, with statistics of training samples.

    In place; the function stays the same. Says whether anything changed.
    """
    batches = calibration(model, data)
    recovered = recover_affine(model, batches)
    return insert_batchnorm(model, batches) or recovered


def calibration(model: ir.Model, data: Data) -> list[dict[str, np.ndarray]]:
    """Some training samples as the model takes them, in batches."""
    return list(_slices(model, data) if isinstance(data, Samples) else _calibration(image_input(model), data))


def _calibration(value: ir.Value, dataset: Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Some training images as the model takes them, in batches of its own size where that is fixed."""
    import torch

    from chanc.data.batches import Batches

    fixed = fixed_batch(value)
    part = dataset.limit(train=CALIBRATION_IMAGES)
    images = torch.tensor(part.train_images)
    batches = Batches(images, torch.tensor(part.train_labels), fixed or CALIBRATION_BATCH, dataset.input)
    kind = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    for batch, _ in batches:
        if fixed in (None, len(batch)):
            yield {value.name or "": batch.contiguous().numpy().astype(kind)}


def _slices(model: ir.Model, data: Samples) -> Iterator[dict[str, np.ndarray]]:
    """Some training samples as they are, in batches that the model takes."""
    count, turns = min(CALIBRATION_IMAGES, data.counts[0]), Turns.of(model)
    for start in range(0, count, CALIBRATION_BATCH):
        batch = {name: value[start : min(start + CALIBRATION_BATCH, count)] for name, value in data.train.items()}
        yield from turns.parts(batch)
