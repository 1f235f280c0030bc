from __future__ import annotations

import math

import pytest

from chanc.errors import DataError

torch = pytest.importorskip("torch")

from chanc.training.evaluation import check_outputs, evaluate, outputs  # noqa: E402


class _Reader(torch.nn.Module):
    """Says the class that the first pixel holds, with a logit of 2; a second output must be ignored."""

    def forward(self, images):
        value = (images[:, 0, 0, 0] * 255).round().long()
        return torch.nn.functional.one_hot(value % 3, 3).float() * 2, torch.zeros(len(images), 3)


def test_top1_and_loss_over_uneven_batches() -> None:
    count = 1300
    images = (torch.arange(count) % 3).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    labels = torch.arange(count) % 3
    labels[:130] = (labels[:130] + 1) % 3
    module = _Reader().train()
    result = evaluate(module, images, labels, (0.0,), (1.0,))
    assert result.top1 == 0.9
    total = math.log(math.exp(2) + 2)
    assert result.loss == pytest.approx(0.9 * (total - 2) + 0.1 * total, rel=1e-6)
    assert not module.training


def test_outputs_and_their_check() -> None:
    main, aux = torch.zeros(2, 5), torch.ones(2, 5)
    assert outputs(main)[0] is main
    assert [o is e for o, e in zip(outputs([main, None, aux]), (main, aux), strict=True)] == [True, True]
    check_outputs(main, 5, "x")
    for shape in ((2, 4), (2, 5, 1), (2,)):
        with pytest.raises(DataError, match="x has 5 classes"):
            check_outputs(torch.zeros(shape), 5, "x")
