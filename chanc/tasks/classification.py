"""Classification of images: one label an image, cross-entropy, top-1.

loss = CE(first output) + 0.4 sum CE(auxiliary outputs)       in training, with label smoothing
loss = CE(first output)                                       on held-out images
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from chanc import fields
from chanc.data import Data, Samples
from chanc.data.dataset import as_labels
from chanc.errors import DataError, ModelError, RunError
from chanc.tasks.registry import TASKS
from chanc.training.images import fit_images, image_input
from chanc.training.inputs import fit_samples
from chanc.training.task import Batch, Outputs, Task

if TYPE_CHECKING:
    from torch import Tensor

_AUX_WEIGHT = 0.4


@TASKS.register("classification")
@dataclass(frozen=True)
class Classification(Task):
    """The first output is [B, classes], and so are those of auxiliary heads; the graph may end in a Softmax.

    Raises: RunError for a label smoothing outside 0..1.
    """

    label_smoothing: float = field(default=0.0, metadata={
        "help": "Share of a label that goes to all classes.", "range": (0, 1)})  # fmt: skip

    name = "classification"
    score_name = "top1"
    takes_logits = True

    def __post_init__(self) -> None:
        if wrong := fields.fault(self):
            raise RunError(wrong)

    def fit(self, model: ir.Model, data: Data) -> Data:
        """Images at the model's input size and in its layout, standardised; other samples as its inputs take them.

        Raises: DataError where there are no labels, or where the model's output has other classes than the data;
        ModelError where it takes no images.
        """
        if not data.labelled:
            raise DataError(f"{data.name} has no labels: classification needs them, the task distillation doesn't")
        if not isinstance(data, Samples):
            image_input(model)
        if not model.graph.outputs:
            raise ModelError("training needs a model with an output")
        fitted = _with_labels(fit_samples(model, data)) if isinstance(data, Samples) else data
        shape = model.graph.outputs[0].shape
        classes = shape[-1] if shape is not None and len(shape) == 2 else None
        if isinstance(classes, int) and not _fits(classes, fitted):
            raise DataError(f"the model has {classes} classes, the data set {data.name} has {_classes(fitted)}")
        return fitted if isinstance(fitted, Samples) else fit_images(model, fitted)

    def check(self, outputs: Outputs, data: Data) -> None:
        """Raises: DataError where an output does not have one column a class."""
        for logits in outputs.values():
            if logits.ndim != 2 or not _fits(logits.shape[1], data):
                shape = "x".join(str(extent) for extent in logits.shape[1:])
                raise DataError(f"{data.name} has {_classes(data)} classes, the model's output is {shape} an image")

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Cross-entropy in nats."""
        from torch.nn import functional

        labels, (main, *aux) = _labels(batch), outputs.values()
        if not batch.training:
            return functional.cross_entropy(main.float(), labels)
        loss = functional.cross_entropy(main.float(), labels, label_smoothing=self.label_smoothing)
        for logits in aux:
            side = functional.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
            loss = loss + _AUX_WEIGHT * side
        return loss

    def score(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        """Correct answers of the first output, int64, and images."""
        main = next(iter(outputs.values()))
        return (main.argmax(1) == _labels(batch)).sum(), len(batch)


def _labels(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise DataError("classification needs data with labels")
    return batch.labels


def _with_labels(data: Samples) -> Samples:
    """Samples whose labels are int64 [N]. Raises: DataError for others."""
    train, test = (None if labels is None else as_labels(f"{data.name}: labels", labels)
                   for labels in (data.train_labels, data.test_labels))  # fmt: skip
    return replace(data, train_labels=train, test_labels=test)


def _classes(data: Data) -> int:
    """The classes of the data; those of samples are known by the largest label only."""
    if not isinstance(data, Samples):
        return data.classes
    return 1 + max(int(of.max()) for of in (data.train_labels, data.test_labels) if of is not None)


def _fits(columns: int, data: Data) -> bool:
    return columns >= _classes(data) if isinstance(data, Samples) else columns == _classes(data)
