"""Two streams: all images, each in one of them, by turns."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from chanc.data.dataset import Dataset  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.streams import Streams  # noqa: E402

CPU = torch.device("cpu")
OPTIONS = TrainOptions(batch_size=20, crop_padding=1, device="cpu")


def test_weights_and_the_others_see_different_images(dataset: Dataset) -> None:
    """Together all of the training part, in the share that was asked for, each in the classes' proportions."""
    streams = Streams(dataset, OPTIONS, "image", CPU, split=0.8, turns="steps")
    assert streams.samples == (160, 40)
    images = [feed.batches.images for feed in (streams.weights, streams.others)]
    seen = torch.cat(images).flatten(1).numpy()
    assert len(np.unique(seen, axis=0)) == len(np.unique(dataset.train_images.reshape(200, -1), axis=0)) == 200
    assert streams.others.batches.labels.bincount().tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize(("turns", "split", "order"), [
    ("steps", 0.8, "wwwwowwwwo"), ("epochs", 0.8, "wwwwwwwwoo"), ("steps", 0.5, "wowowowowo"),
    ("steps", 0.2, "woooowoooo"),
])  # fmt: skip
def test_turns(dataset: Dataset, turns: str, split: float, order: str) -> None:
    streams = Streams(dataset, OPTIONS, "image", CPU, split=split, turns=turns)
    streams.generator.manual_seed(0)
    assert len(streams) == 10
    assert "".join("wo"[others] for others, _ in streams) == order


def test_a_seed_gives_the_same_batches(dataset: Dataset) -> None:
    streams = Streams(dataset, OPTIONS, "image", CPU, split=0.5, turns="steps")
    found = []
    for seed in (1, 1, 2):
        streams.generator.manual_seed(seed)
        found.append(torch.cat([batch.inputs["image"] for _, batch in streams]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
