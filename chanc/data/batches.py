"""Batches of data that live whole, as they are stored, on the training device: of images, and of named arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from chanc.data.augment import Augment
from chanc.data.contract import InputContract


class Batches:
    """One epoch an iteration: shuffled and augmented with a generator, in stored order without one.

    images: [N, C, H, W], pixels of 0..255, uint8 or float32, and labels: int64 [N] on the device; contract: how the
    network takes its pixels.
    Batches are float32, normalised, [B, C, H, W] in memory format channels-last, or [B, H, W, C] where the contract
    says so, with labels [B]. No image is dropped: the last batch is smaller, and a remainder of a single image joins
    the batch before it (batch norm can't train on one).

    generator: on the CPU, so that a seed gives the same batches on every device; its state at an epoch's start
    determines that epoch.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        contract: InputContract,
        augment: Augment | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if images.dtype not in (torch.uint8, torch.float32) or images.ndim != 4 or len(images) != len(labels):
            raise ValueError(
                f"images must be uint8 or float32 [N, C, H, W] with N labels, not {images.dtype} {images.shape}"
            )
        if batch_size < 1 or (batch_size == 1 and generator is not None):
            raise ValueError(f"a batch size of {batch_size} can't be trained")
        if augment is not None and generator is None:
            raise ValueError("augmentation needs a generator")
        contract.fits(images.shape[1])
        # Stored as NHWC: a permuted view of it is channels-last for free.
        self.images = images.permute(0, 2, 3, 1).contiguous()
        self.labels = labels
        self.batch_size = batch_size
        self.augment = augment
        self.generator = generator
        self.channels_last, self.blue_first = contract.layout == "NHWC", contract.order == "BGR"
        self._gain = torch.tensor(contract.gain, device=images.device)
        self._shift = torch.tensor(contract.shift, device=images.device)

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.labels.device

    @property
    def samples(self) -> int:
        """Images an epoch."""
        return len(self.labels)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._starts()) - 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.generator is None:
            yield from self._in_order()
        else:
            yield from self._shuffled(self.generator)

    def _in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        starts = self._starts()
        for start, stop in itertools.pairwise(starts):
            yield self._laid_out(self._normalise(self.images[start:stop])), self.labels[start:stop]

    def _shuffled(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        count, height, width, _ = self.images.shape
        device = self.images.device
        order = torch.randperm(count, generator=generator).to(device, non_blocking=True)
        augment = self.augment
        moves = augment.draw(count, height, width, generator).to(device) if augment else None
        starts = self._starts()
        for start, stop in itertools.pairwise(starts):
            images = self.images.index_select(0, order[start:stop])
            labels = self.labels.index_select(0, order[start:stop])
            if augment is None or moves is None:
                yield self._laid_out(self._normalise(images)), labels
                continue
            own = moves[start:stop]
            yield self._laid_out(augment.cut(self._normalise(augment.crop_flip(images, own)), own)), labels

    def _normalise(self, images: Tensor) -> Tensor:
        """Stored pixels [B, H, W, C] to float32 [B, C, H, W], channels-last."""
        images = images.flip(-1) if self.blue_first else images
        return images.to(torch.float32, copy=True).mul_(self._gain).add_(self._shift).permute(0, 3, 1, 2)

    def _laid_out(self, images: Tensor) -> Tensor:
        """[B, C, H, W] as the network takes it."""
        return images.permute(0, 2, 3, 1) if self.channels_last else images

    def _starts(self) -> list[int]:
        return _starts(len(self.images), self.batch_size, whole=self.generator is None)


class SampleBatches:
    """The same of named arrays [N, ...], which come as they are: {name: [B, ...]} with labels [B, ...], or None."""

    def __init__(
        self,
        arrays: Mapping[str, Tensor],
        labels: Tensor | None,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        if batch_size < 1 or (batch_size == 1 and generator is not None):
            raise ValueError(f"a batch size of {batch_size} can't be trained")
        self.arrays, self.labels = dict(arrays), labels
        self.batch_size, self.generator = batch_size, generator
        self._first = next(iter(self.arrays.values()))

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self._first.device

    @property
    def samples(self) -> int:
        """Samples an epoch."""
        return len(self._first)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._starts()) - 1

    def __iter__(self) -> Iterator[tuple[Mapping[str, Tensor], Tensor | None]]:
        order = None
        if self.generator is not None:
            order = torch.randperm(self.samples, generator=self.generator).to(self.device)
        for start, stop in itertools.pairwise(self._starts()):
            rows = slice(start, stop) if order is None else order[start:stop]
            labels = self.labels[rows] if self.labels is not None else None
            yield {name: values[rows] for name, values in self.arrays.items()}, labels

    def _starts(self) -> list[int]:
        return _starts(self.samples, self.batch_size, whole=self.generator is None)


def _starts(count: int, batch_size: int, *, whole: bool) -> list[int]:
    """Where batches start, and the end of the last one; a single sample left over may stand alone, or joins others."""
    starts = [*range(0, count, batch_size), count]
    if len(starts) > 2 and starts[-1] - starts[-2] == 1 and not whole:
        del starts[-2]
    return starts
