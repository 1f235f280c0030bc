"""DMaskingNAS in a run: a fixed range, a temperature that falls, the likeliest widths."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from chanc.runs import EpochEvent, read_run  # noqa: E402
from chanc.study.methods.registry import make  # noqa: E402
from chanc.study.study import search  # noqa: E402
from chanc.training.masking import Unit  # noqa: E402

CPU = torch.device("cpu")


def unit(start: int, step: int, low: int = 8, high: int = 1024) -> Unit:
    return Unit("a", {"a": 1.0}, start, step, low, high)


@pytest.mark.parametrize(("options", "of", "expected"), [
    ({"low": 0.65, "high": 0.95, "step": 4}, unit(36, 4), (24, 28, 32)),
    ({}, unit(36, 8), (8, 16, 24, 32, 40, 48, 56, 64, 72)),
    ({"high": 0.5}, unit(12, 8), (8,)),
    ({}, unit(600, 200, 200, 1000), (200, 400, 600, 800, 1000)),
])  # fmt: skip
def test_its_range_is_a_share_of_the_width(options: dict[str, float], of: Unit, expected: tuple[int, ...]) -> None:
    choices = make("dmask", **options).begin([of], CPU, 1.0)
    assert tuple(int(width) for width in choices.options[0]) == expected


def test_it_cools_down() -> None:
    method = make("dmask")
    choices = method.begin([unit(36, 8)], CPU, 1.0)
    method.advance(choices, [unit(36, 8)], 0, 51)
    assert choices.tau == 5.0
    method.advance(choices, [unit(36, 8)], 50, 51)
    assert choices.tau == pytest.approx(5.0 * 0.956**50)


def test_a_range_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match=r"low 0\.9 lies above high 0\.5"):
        make("dmask", low=0.9, high=0.5)


def test_a_run(tmp_path: Path, digits_model: Path) -> None:
    """The range stays, its widest is trained throughout, and what is likeliest at the end is found."""
    result = search(digits_model, algo="dmask", out=tmp_path / "run", data="digits", epochs=1, limit_train=80,
                    holdout=0.2, options={"step": 4, "min_width": 4, "split": 0.8, "turns": "epochs"},
                    train={"batch_size": 32, "crop_padding": 1, "flip": False, "device": "cpu"})  # fmt: skip
    events = read_run(tmp_path / "run").of(EpochEvent)
    for event in events:
        assert dict(event.metrics["low"]) == {"stem.weight": 4, "inner.weight": 4, "pointwise.weight": 4}
        assert dict(event.metrics["high"]) == {"stem.weight": 32, "inner.weight": 32, "pointwise.weight": 48}
        assert "mu" not in event.metrics
    alpha = events[-1].state["alpha"]
    for name, width in result.widths.items():
        weights, options = alpha[name]["weights"], alpha[name]["options"]
        assert width == options[weights.index(max(weights))]
