from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from chanc.data.batches import Batches  # noqa: E402
from chanc.data.contract import InputContract  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.modules import by_hand  # noqa: E402
from chanc.training.evaluation import evaluate  # noqa: E402
from chanc.training.feed import EVALUATION_BATCH, Feed  # noqa: E402


class _Reader(torch.nn.Module):
    """Says the class that the first pixel holds, with a logit of 2; a second output must be ignored."""

    def forward(self, images):
        value = (images[:, 0, 0, 0] * 255).round().long()
        return torch.nn.functional.one_hot(value % 3, 3).float() * 2, torch.zeros(len(images), 3)


def test_score_and_loss_over_uneven_batches() -> None:
    count = 1300
    images = (torch.arange(count) % 3).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    labels = torch.arange(count) % 3
    labels[:130] = (labels[:130] + 1) % 3
    net = by_hand(_Reader().train(), outputs=("main", "aux"))
    feed = Feed(Batches(images, labels, EVALUATION_BATCH, InputContract()), "image")
    result = evaluate(net, Classification(label_smoothing=0.5), feed)
    assert result.score == 0.9
    total = math.log(math.exp(2) + 2)
    assert result.loss == pytest.approx(0.9 * (total - 2) + 0.1 * total, rel=1e-6)
    assert not net.module.training
