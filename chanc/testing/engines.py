"""A search engine without a network, for tests of samplers and drivers: models are JSON files of widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chanc.errors import IllegalMove, TrialError
from chanc.study.engine import Trained, Watcher
from chanc.study.measure import Member
from chanc.study.space import Price, SearchGroup, Space
from chanc.testing.samplers import chain_price

SIZES = {"a": 32, "b": 48}
SPACE = Space((SearchGroup("a", 32), SearchGroup("b", 48, 4)), chain_price(("a", "b"), SIZES))  # type: ignore[arg-type]
MEMBERS = {"a": (Member("w0", "out"), Member("w1", "in")), "b": (Member("w1", "out"),)}


@dataclass
class FakeEngine:
    """Measurements are random numbers of the trial's seed.

    failing: calls of train (from 0) that raise TrialError, with its text; illegal: widths that can't be had;
    kill_at: the call of train that is interrupted. calls: what train was asked for.
    """

    failing: dict[int, str] = field(default_factory=dict)
    illegal: list[dict[str, int]] = field(default_factory=list)
    kill_at: int | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def load(self, path: Path) -> Any:
        """Read a model."""
        return json.loads(path.read_text())

    def save(self, model: Any, path: Path) -> None:
        """Write a model."""
        path.write_text(json.dumps(model))

    def resize(self, model: Any, widths: Mapping[str, int], *, fresh: bool, seed: int) -> Any:
        """The model at other widths, or IllegalMove."""
        if dict(widths) in self.illegal:
            raise IllegalMove(f"{dict(widths)} can't be had")
        return {"widths": dict(widths), "weight": 0.0 if fresh else model["weight"]}

    def price(self, model: Any) -> Price:
        """The cost of a chain of convolutions."""
        assert SPACE.price is not None
        return SPACE.price(model["widths"])

    def latency(self, model: Any) -> float:
        """Ten nanoseconds a parameter."""
        return self.price(model).params * 1e-8

    def check(self, model: Any) -> None:
        """Every model will do."""

    def export(self, model: Any, folder: Path) -> None:
        """A comment in the place of source."""
        (folder / "model.py").write_text(f"# {model['widths']}\n")

    def train(
        self, model: Any, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None, watch: Watcher
    ) -> Trained:
        """Random measurements, or the failure that was asked for."""
        call = len(self.calls)
        self.calls.append({"widths": model["widths"], "fresh": fresh, "seed": seed, "weight": model["weight"],
                           "carry_from": carry_from})  # fmt: skip
        if call == self.kill_at:
            raise KeyboardInterrupt
        if call in self.failing:
            raise TrialError(self.failing[call])
        draw = np.random.default_rng(seed)
        epochs = []
        for epoch in range(2):
            metrics = {name: {f"{mode}_{key}": float(draw.random()) for mode in ("in", "out")
                              for key in ("rank", "kappa", "qc")} for name in ("w0", "w1")}  # fmt: skip
            epochs.append({"epoch": epoch, "loss": 1.0, "top1": 0.5, "lr": 0.1, "metrics": metrics})
            watch.epoch(epoch, 1.0, 0.5)
        if carry_to is not None:
            carry_to.write_text("state")
        return Trained({**model, "weight": model["weight"] + draw.random()}, epochs, float(draw.random()), 1.0)

    def train_final(self, model: Any, *, seed: int, checkpoint: Path, watch: Watcher) -> Trained:
        """A top-1 of the seed; counted among the calls."""
        self.calls.append({"final": model["widths"], "seed": seed})
        if len(self.calls) - 1 == self.kill_at:
            checkpoint.write_text("half")
            raise KeyboardInterrupt
        if len(self.calls) - 1 in self.failing:
            raise TrialError(self.failing[len(self.calls) - 1])
        watch.epoch(0, 1.0, 0.5)
        return Trained(model, [{"epoch": 0, "loss": 1.0, "top1": 0.5, "lr": 0.1}], (seed % 1000) / 1000, 1.0)
