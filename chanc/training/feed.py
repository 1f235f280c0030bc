"""Data as the batches of a network: inputs by name, labels, and what a teacher says of them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chanc.data import Data
from chanc.data.augment import Augment
from chanc.data.batches import Batches, SampleBatches
from chanc.data.dataset import Dataset
from chanc.data.samples import Array, Samples
from chanc.errors import ModelError
from chanc.training.module import Trainable
from chanc.training.options import TrainOptions
from chanc.training.task import Batch, Outputs

EVALUATION_BATCH = 512
NUMBERS = 1 << 23
"""Numbers of the inputs that are judged at once: fewer samples where they are large."""

Part = Literal["train", "test"]
Held = dict[tuple[Part, torch.device], tuple[Tensor, Tensor]]
_held: weakref.WeakKeyDictionary[Dataset, Held] = weakref.WeakKeyDictionary()


class Feed:
    """One epoch an iteration. Batches with a generator are for training, without one to judge by.

    name: the graph's input of images; other samples have their names. teacher: fills `Batch.teacher`; it is on the
    batches' device, and stays as it is. labelled: whether the batches' labels mean anything.
    """

    def __init__(
        self, batches: Batches | SampleBatches, name: str, teacher: Trainable | None = None, *, labelled: bool = True
    ) -> None:
        self.batches = batches
        self.name = name
        self.teacher = teacher
        self.labelled = labelled
        self._odd: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.batches.device

    @property
    def samples(self) -> int:
        """Samples an epoch."""
        return self.batches.samples

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        training = self.batches.generator is not None
        for found, labels in self.batches:
            inputs = found if isinstance(found, Mapping) else {self.name: found}
            yield Batch(inputs, labels if self.labelled else None, training, self._taught(inputs))

    def check_teacher(self) -> None:
        """Raises: ModelError where the teacher said something that is no number, naming its output."""
        for name, odd in self._odd.items():
            if bool(odd):
                raise ModelError(f"the teacher's output '{name}' holds NaN or Inf: nothing can be learned from it")

    def _taught(self, inputs: Mapping[str, Tensor]) -> Outputs | None:
        if self.teacher is None:
            return None
        # In full precision, whatever the student runs in.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            said = self.teacher.forward(inputs)
            for name, value in said.items():
                if value.is_floating_point():
                    # Noted and not read, which would make the CPU wait for the device.
                    odd = ~value.isfinite().all()
                    self._odd[name] = self._odd[name] | odd if name in self._odd else odd
        return said


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
    data: Data,
    options: TrainOptions,
    name: str,
    device: torch.device,
    generator: torch.Generator,
    teacher: Trainable | None = None,
) -> Feed:
    """The training part on the device, shuffled, images augmented."""
    if isinstance(data, Samples):
        return Feed(_sample_batches(data, "train", device, options.batch_size, generator), name, teacher)
    augment = Augment(options.crop_padding, options.flip, options.cutout)
    images, labels = resident(data, "train", device)
    batches = Batches(images, labels, options.batch_size, data.input, augment, generator)
    return Feed(batches, name, teacher, labelled=data.labelled)


def held_out_feed(data: Data, name: str, device: torch.device, teacher: Trainable | None = None) -> Feed:
    """The test part on the device, in stored order."""
    at_once = max(1, min(EVALUATION_BATCH, NUMBERS // data.numbers))
    if isinstance(data, Samples):
        return Feed(_sample_batches(data, "test", device, at_once), name, teacher)
    images, labels = resident(data, "test", device)
    return Feed(Batches(images, labels, at_once, data.input), name, teacher, labelled=data.labelled)


def some_feed(
    data: Data, name: str, device: torch.device, count: int, batch_size: int, seed: int,
    teacher: Trainable | None = None,
) -> Feed:  # fmt: skip
    """Some training samples, drawn by the seed, as they are: without augmentation."""
    chosen = np.random.default_rng(seed).permutation(data.counts[0])[:count]
    if isinstance(data, Samples):
        return Feed(_sample_batches(data, "train", device, batch_size, chosen=chosen), name, teacher)
    images, labels = (torch.tensor(array[chosen]).to(device) for array in (data.train_images, data.train_labels))
    return Feed(Batches(images, labels, batch_size, data.input), name, teacher, labelled=data.labelled)


def few(data: Data, name: str, count: int) -> dict[str, Tensor]:
    """The first held-out samples on the CPU, by input; pixels as they are stored."""
    if isinstance(data, Samples):
        return {key: torch.tensor(value[:count]) for key, value in data.test.items()}
    images = torch.tensor(data.test_images[:count]).float()
    return {name: images.permute(0, 2, 3, 1) if data.input.layout == "NHWC" else images}


def _sample_batches(
    data: Samples, part: Part, device: torch.device, batch_size: int, generator: torch.Generator | None = None,
    chosen: Array | None = None,
) -> SampleBatches:  # fmt: skip
    arrays, labels = (data.train, data.train_labels) if part == "train" else (data.test, data.test_labels)
    rows = slice(None) if chosen is None else chosen
    named = {name: torch.tensor(value[rows]).to(device) for name, value in arrays.items()}
    return SampleBatches(
        named, torch.tensor(labels[rows]).to(device) if labels is not None else None, batch_size, generator
    )
