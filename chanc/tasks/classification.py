"""Classification of images: one label an image, cross-entropy, top-1.

loss = CE(first output) + 0.4 sum CE(auxiliary outputs)       in training, with label smoothing
loss = CE(first output)                                       on held-out images
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from chanc import fields
from chanc.data.contract import InputContract
from chanc.data.dataset import Dataset
from chanc.errors import DataError, ModelError, RunError
from chanc.tasks.registry import TASKS
from chanc.training.images import image_input, layout_of
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

    def fit(self, model: ir.Model, data: Dataset) -> Dataset:
        """The data at the model's input size and in its layout, standardised.

        Raises: DataError where the model's output has other classes than the data; ModelError where it takes no images.
        """
        value = image_input(model)
        if not model.graph.outputs:
            raise ModelError("training needs a model with an output")
        shape = model.graph.outputs[0].shape
        classes = shape[-1] if shape is not None and len(shape) == 2 else None
        if isinstance(classes, int) and classes != data.classes:
            raise DataError(f"the model has {classes} classes, the data set {data.name} has {data.classes}")
        layout = layout_of(model)
        sizes = list(value.shape or ())[1:]
        wanted = zip(sizes if layout == "NCHW" else [sizes[2], *sizes[:2]], data.shape, strict=True)
        fitted = data.fit_to(*(want if isinstance(want, int) else have for want, have in wanted))
        return replace(fitted, contract=InputContract(1 / 255, fitted.mean, fitted.std, layout))

    def check(self, outputs: Outputs, data: Dataset) -> None:
        """Raises: DataError where an output does not have one column a class."""
        for logits in outputs.values():
            if logits.ndim != 2 or logits.shape[1] != data.classes:
                shape = "x".join(str(extent) for extent in logits.shape[1:])
                raise DataError(f"{data.name} has {data.classes} classes, the model's output is {shape} an image")

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
