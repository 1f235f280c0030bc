from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.data.dataset import Dataset, make

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """All tests of training, here and below."""


class Net(torch.nn.Module):
    """Convolutions, batch norm, dropout and, where asked for, an auxiliary head."""

    def __init__(self, classes: int = 4, aux: bool = False) -> None:
        super().__init__()
        self.outputs = ("main", "aux") if aux else ("main",)
        nn = torch.nn
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.classifier = nn.Linear(12, classes)
        self.aux = nn.Linear(12, classes) if aux else None

    def forward(self, images):
        features = self.body(images).mean(dim=(2, 3))
        main = self.classifier(features)
        return main if self.aux is None else (main, self.aux(features))


@pytest.fixture
def net() -> Callable[..., torch.nn.Module]:
    """Makes the same small network every time."""

    def build(**settings: object) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Net(**settings)

    return build


@pytest.fixture
def dataset() -> Dataset:
    """Four classes of noisy 3x8x8 images that differ in colour: a few epochs tell them apart."""
    random = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count, dtype=np.int64) % 4
        colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [120, 120, 120]])[labels]
        noisy = colours[:, :, None, None] + random.normal(0, 50, size=(count, 3, 8, 8))
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels

    return make("colours", part(200), part(80))
