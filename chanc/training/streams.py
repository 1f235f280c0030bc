"""Two streams of batches: some training images for the weights of a network, the others for what decides its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

from chanc.data import Data
from chanc.training.feed import training_feed
from chanc.training.options import TrainOptions
from chanc.training.task import Batch


class Streams:
    """`weights` and `others`: feeds of the two parts, shuffled and augmented by one generator."""

    def __init__(
        self, data: Data, options: TrainOptions, name: str, device: torch.device, *,
        split: float, turns: Literal["steps", "epochs"],
    ) -> None:  # fmt: skip
        """`split`: the share of the training samples that is for the weights; `name`: the graph's input of images.

        turns: both by turns, so that they end together, or all batches for the weights first.
        """
        self.generator, self._by_steps = torch.Generator(), turns == "steps"
        first = data.split(1 - split, seed=options.seed)
        self.weights, self.others = (
            training_feed(part, options, name, device, self.generator) for part in (first, first.swapped())
        )

    @property
    def samples(self) -> tuple[int, int]:
        """Images an epoch, of the weights and of the others."""
        return self.weights.samples, self.others.samples

    def __len__(self) -> int:
        """Batches an epoch, of both."""
        return len(self.weights) + len(self.others)

    def __iter__(self) -> Iterator[tuple[bool, Batch]]:
        """The batches of an epoch, and whether they are the others'."""
        others, done = iter(self.others), 0
        for step, batch in enumerate(self.weights, start=1):
            yield False, batch
            due = step * len(self.others) // len(self.weights) if self._by_steps else 0
            for _ in range(done, due):
                yield True, next(others)
            done = due
        yield from ((True, batch) for batch in others)
