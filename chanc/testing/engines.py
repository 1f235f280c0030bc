"""A search engine without a network, for tests of methods and drivers: a model is no more than its widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
import onnx_ir as ir

from chanc.errors import IllegalMove, TrialError
from chanc.rewriter.importance import Gathered
from chanc.runs import Epoch
from chanc.study.engine import Edges, Trained, Watcher
from chanc.study.measure import Member
from chanc.study.space import Price, SearchGroup, Space
from chanc.testing.samplers import chain_price, example_evidence

SIZES = {"a": 32, "b": 48}
SPACE = Space((SearchGroup("a", 32), SearchGroup("b", 48, 4)), chain_price(("a", "b"), SIZES))
MEMBERS = {"a": (Member("w0", "out"), Member("w1", "in")), "b": (Member("w1", "out"),)}


class Call(TypedDict, total=False):
    """What a fake engine was asked to train; final: widths of a final training, goes_on: it found a checkpoint."""

    widths: Mapping[str, int]
    final: Mapping[str, int]
    fresh: bool
    seed: int
    weight: float
    carry_from: Path | None
    epochs: int | None
    goes_on: bool


def toy(widths: Mapping[str, int], weight: float = 0.0) -> ir.Model:
    """A model of the given widths (channels by group), with a number in the place of its weights."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18})
    text = json.dumps({"widths": dict(widths), "weight": weight})
    return ir.Model(graph, ir_version=10, metadata_props={"toy": text})


def widths_of(model: ir.Model) -> dict[str, int]:
    """The widths of a toy model."""
    widths: dict[str, int] = json.loads(model.metadata_props["toy"])["widths"]
    return widths


def weight_of(model: ir.Model) -> float:
    """The number in the place of a toy model's weights."""
    weight: float = json.loads(model.metadata_props["toy"])["weight"]
    return weight


@dataclass
class FakeEngine:
    """Measurements are random numbers of the trial's seed; a model's file is the JSON of its widths and weight.

    failing: calls of train (from 0) that raise TrialError, with its text; illegal: widths that can't be had;
    kill_at: the call of train that is interrupted. calls: what train was asked for.
    """

    failing: dict[int, str] = field(default_factory=dict)
    illegal: list[dict[str, int]] = field(default_factory=list)
    kill_at: int | None = None
    calls: list[Call] = field(default_factory=list)

    def load(self, path: Path) -> ir.Model:
        """Read a model."""
        return toy(**json.loads(path.read_text()))

    def save(self, model: ir.Model, path: Path) -> None:
        """Write a model."""
        path.write_text(model.metadata_props["toy"])

    def resize(
        self, model: ir.Model, widths: Mapping[str, int], *, fresh: bool, seed: int, transfer: str | None = None,
        evidence: Gathered | None = None,
    ) -> ir.Model:  # fmt: skip
        """The model at other widths, or IllegalMove."""
        if dict(widths) in self.illegal:
            raise IllegalMove(f"{dict(widths)} can't be had")
        return toy(widths, 0.0 if fresh else weight_of(model))

    def evidence(self, model: ir.Model) -> Gathered:
        """Made up, from the model's widths."""
        return example_evidence(SPACE, widths_of(model))

    def price(self, model: ir.Model) -> Price:
        """The cost of a chain of convolutions."""
        assert SPACE.price is not None
        return SPACE.price(widths_of(model))

    def latency(self, model: ir.Model) -> float:
        """Ten nanoseconds a parameter."""
        return self.price(model).params * 1e-8

    def check(self, model: ir.Model) -> None:
        """Every model will do."""

    def complete(self, model: ir.Model) -> None:
        """A model is handed over as it is."""

    def export(self, model: ir.Model, folder: Path) -> None:
        """A comment in the place of source."""
        (folder / "model.py").write_text(f"# {widths_of(model)}\n")

    def train(
        self, model: ir.Model, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None,
        watch: Watcher, epochs: int | None = None, checkpoint: Path | None = None,
    ) -> Trained:  # fmt: skip
        """Random measurements, or the failure that was asked for."""
        widths, weight = widths_of(model), weight_of(model)
        self._call(Call(widths=widths, fresh=fresh, seed=seed, weight=weight, carry_from=carry_from, epochs=epochs))
        draw = np.random.default_rng(seed)
        done = []
        for epoch in range(epochs or 2):
            metrics = {name: {f"{mode}_{key}": float(draw.random()) for mode in ("in", "out")
                              for key in ("rank", "kappa", "qc")} for name in ("w0", "w1")}  # fmt: skip
            done.append(Epoch(epoch, 1.0, 0.5, 0.1, metrics))
            watch.epoch(epoch, 1.0, 0.5)
        if carry_to is not None:
            carry_to.write_text("state")
        after, score = toy(widths, weight + float(draw.random())), float(draw.random())
        return Trained(after, done, score, 1.0, {"train": 0.0, "measure": 0.0})

    def lowered(self, model: ir.Model, edges: Edges) -> ir.Model:
        """The model as it is."""
        return model

    def price_of(self, model: ir.Model, edges: Edges) -> Price:
        """The price of all of the model."""
        return self.price(model)

    def train_final(
        self, model: ir.Model, *, seed: int, checkpoint: Path, watch: Watcher, fresh: bool = True,
        edges: Edges | None = None,
    ) -> Trained:  # fmt: skip
        """A top-1 of the seed; counted among the calls."""
        asked = Call(final=widths_of(model), seed=seed, goes_on=checkpoint.exists())
        if len(self.calls) == self.kill_at:
            checkpoint.write_text("half")
        self._call(asked)
        watch.epoch(0, 1.0, 0.5)
        return Trained(model, [Epoch(0, 1.0, 0.5, 0.1)], (seed % 1000) / 1000, 1.0)

    def _call(self, asked: Call) -> None:
        number = len(self.calls)
        self.calls.append(asked)
        if number == self.kill_at:
            raise KeyboardInterrupt
        if number in self.failing:
            raise TrialError(self.failing[number])
