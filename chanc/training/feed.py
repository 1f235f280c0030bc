"""A data set as the batches of a network: images and labels by name, and what a teacher says of them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from chanc.data.augment import Augment
from chanc.data.batches import Batches
from chanc.data.dataset import Dataset
from chanc.training.module import Trainable
from chanc.training.options import TrainOptions
from chanc.training.task import Batch, Outputs

EVALUATION_BATCH = 512

Part = Literal["train", "test"]
Held = dict[tuple[Part, torch.device], tuple[Tensor, Tensor]]
_held: weakref.WeakKeyDictionary[Dataset, Held] = weakref.WeakKeyDictionary()


class Feed:
    """One epoch an iteration. Batches with a generator are for training, without one to judge by.

    name: the graph's input. teacher: fills `Batch.teacher`; it is on the batches' device, and stays as it is.
    """

    def __init__(self, batches: Batches, name: str, teacher: Trainable | None = None) -> None:
        self.batches = batches
        self.name = name
        self.teacher = teacher

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.batches.labels.device

    @property
    def samples(self) -> int:
        """Samples an epoch."""
        return len(self.batches.labels)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        training = self.batches.generator is not None
        for images, labels in self.batches:
            yield Batch({self.name: images}, labels, training, self._taught(images))

    def _taught(self, images: Tensor) -> Outputs | None:
        if self.teacher is None:
            return None
        # In full precision, whatever the student runs in.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.teacher.forward({self.name: images})


def resident(data: Dataset, part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W], stored channels-last, and labels, int64 [N], on the device: shared, not to be changed.

    They are copied once for all the trainings of a search. Those of the last data set are kept, while there is one.
    """
    if data not in _held:
        _held.clear()
    held = _held.setdefault(data, {})
    if (part, device) not in held:
        arrays = (data.train_images, data.train_labels) if part == "train" else (data.test_images, data.test_labels)
        images, labels = (torch.tensor(array).to(device) for array in arrays)
        held[part, device] = images.contiguous(memory_format=torch.channels_last), labels
    return held[part, device]


def training_feed(
    data: Dataset,
    options: TrainOptions,
    name: str,
    device: torch.device,
    generator: torch.Generator,
    teacher: Trainable | None = None,
) -> Feed:
    """The training part on the device, shuffled and augmented."""
    augment = Augment(options.crop_padding, options.flip, options.cutout)
    images, labels = resident(data, "train", device)
    batches = Batches(images, labels, options.batch_size, data.input, augment, generator)
    return Feed(batches, name, teacher)


def held_out_feed(data: Dataset, name: str, device: torch.device, teacher: Trainable | None = None) -> Feed:
    """The test part on the device, in stored order."""
    images, labels = resident(data, "test", device)
    return Feed(Batches(images, labels, EVALUATION_BATCH, data.input), name, teacher)
