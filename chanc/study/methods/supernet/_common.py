"""What masking methods share: options, a supernet that is trained epoch by epoch, and its end in legal widths.

What is theirs alone is a policy: which widths there are to choose from, and how a choice is parameterised.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import onnx_ir as ir

from chanc.errors import RunError
from chanc.runs import Best, Decision, EpochEvent, Event, StateEvent, Timing, best, read_json
from chanc.study.engine import Engine, stepper
from chanc.study.methods.protocol import Context
from chanc.study.methods.sampler import Bounded
from chanc.study.space import Limits, Space, Widths

if TYPE_CHECKING:
    import torch

    from chanc.training.choices import Choices
    from chanc.training.latency import Table
    from chanc.training.masking import MaskedEpoch, MaskOptions, Policy, Unit
    from chanc.training.supernet import Supernet

FOLDER = "supernet"
MISSED = 0.1
"""Logarithm of a cost over its target from which on that is said."""
SHOWN = 8
"""So many fixed groups are named one by one."""


@runtime_checkable
class MaskEngine(Engine, Protocol):
    """An engine that makes supernets."""

    def supernet(
        self, model: ir.Model, masking: MaskOptions, policy: Policy, units: Sequence[Unit], *, seed: int
    ) -> Supernet:
        """A masked network on the search's data. Raises ModelError where nothing can be masked."""

    def latencies(self, model: ir.Model, units: Sequence[Unit]) -> Table:
        """Layer by layer, around the model's widths."""

    def latency(self, model: ir.Model) -> float:
        """Seconds of one input."""


@dataclass(frozen=True)
class Masking(Bounded, ABC):
    """What both methods can be asked for.

    cost_weight: the paper's lambda; None: the target is held (`chanc.training.expected`), without one it is 0.01.
    """

    min_width: int = 8
    max_width: int = 1024
    step: int = field(default=8, metadata={
        "help": "Distance of the widths that a mask chooses from, in channels.", "range": (1, math.inf)})
    split: float = field(default=0.5, metadata={
        "help": "Share of the training images that weights see; masks see the others.", "range": (0.01, 0.99)})
    turns: Literal["steps", "epochs"] = field(default="steps", metadata={
        "help": "Weights and masks by turns at each step, or the weights' batches of an epoch first."})
    mask_mode: Literal["soft", "sampled"] = field(default="soft", metadata={
        "help": "What a step trains with: masks as they are, or widths drawn by them."})
    mask_lr: float = field(default=0.1, metadata={"help": "Learning rate of the masks' Adam.", "range": (0, math.inf)})
    cost: Literal["macs", "params", "latency"] = field(default="macs", metadata={
        "help": "What is priced in a search without a target; latency is measured in onnxruntime, layer by layer."})
    cost_weight: float | None = field(default=None, metadata={
        "help": "Fixed weight of the cost in the loss (the papers' lambda).", "range": (0, math.inf),
        "default": "none, each step holds the target; 0.01 without one"})

    @abstractmethod
    def begin(self, units: Sequence[Unit], device: torch.device, level: float) -> Choices:
        """The choices before the first epoch; `level` times all starts costs what the search is held to."""

    @abstractmethod
    def advance(self, choices: Any, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        """Make the choices ready for an epoch of so many: those that `begin` made."""

    @abstractmethod
    def figures(self, seen: MaskedEpoch) -> Mapping[str, Mapping[str, float]]:
        """What an epoch's event tells that only this method has."""

    def units(self, space: Space) -> list[Unit]:
        """The groups that share a choice, each tie or a group for itself."""
        from chanc.training.masking import Unit

        limits = Limits(self.min_width, self.max_width, self.step)
        return [
            Unit(name, {group.id: group.size / lead.size for group in groups}, lead.size, limits.quantum(lead),
                 *limits.bounds(lead))
            for name, groups in space.units.items() for lead in groups[:1]
        ]  # fmt: skip

    def run(self, context: Context) -> Iterator[Event]:
        """An event an epoch, and the decision."""
        if best(context.record) is not None:
            return
        net = self._supernet(context)
        done = list(context.record.of(EpochEvent))
        if done:
            net.restore(context.record.path / done[-1].file)
        for epoch in range(len(done), net.options.epochs):
            seen = net.epoch(epoch, stepper(context.watch))
            file = context.folder(FOLDER) / f"{epoch:03d}.safetensors"
            net.save(file)
            context.timed(Timing(f"epoch {epoch}", seen.seconds, peak_bytes=seen.peak))
            context.watch.epoch(epoch, seen.loss, seen.score)
            done.append(self._event(seen, f"{FOLDER}/{file.name}", {} if epoch else net.fixed))
            yield done[-1]
            file.with_name(f"{epoch - 1:03d}.safetensors").unlink(missing_ok=True)
        for line in missed(done[-1].metrics):
            context.say(line)
        widths = self._decided(context, net)
        context.engine.save(net.narrowed(widths), context.folder(FOLDER) / "model.onnx")
        yield StateEvent({}, best=Best(Decision(widths)), file=f"{FOLDER}/model.onnx")

    def _supernet(self, context: Context) -> Supernet:
        engine = _engine(context)
        model, units = engine.load(context.input), self.units(context.space)
        net = engine.supernet(model, self._masking(context, model), self, units, seed=context.seed)
        net.begin(draw=context.fresh)
        for line in _named(net.fixed):
            context.say(line)
        return net

    def _masking(self, context: Context, model: ir.Model) -> MaskOptions:
        from chanc.training.expected import Pressure
        from chanc.training.masking import MaskOptions

        targets = {str(counter): value for counter, value in self.target.counts(context.space).items()}
        table = self._latency(context, model) if self.target.latency is not None or self.cost == "latency" else None
        if table is not None and self.target.latency is not None:
            targets["latency_ms"] = 1e3 * self.target.seconds(lambda: table.whole / 1e3)
        weight = 0.01 if self.cost_weight is None and not targets else self.cost_weight
        return MaskOptions(Pressure(targets, weight), self.split, self.turns, self.mask_mode,
                           self.mask_lr, "latency_ms" if self.cost == "latency" else self.cost, table)  # fmt: skip

    def _latency(self, context: Context, model: ir.Model) -> Table:
        """The table of latencies, measured once a run."""
        from chanc.training.latency import Table

        path = context.folder(FOLDER) / "latency.json"
        known = read_json(path)
        if isinstance(known, dict):
            return Table.of(known)
        context.say("measuring the latency of each layer")
        table = _engine(context).latencies(model, self.units(context.space))
        table.save(path)
        return table

    def _decided(self, context: Context, net: Supernet) -> Widths:
        """Legal widths: at the target, or else next to what the masks came to; fixed groups have their own."""
        space, engine, found = context.space, _engine(context), net.widths()
        moving = dataclasses.replace(space, groups=tuple(
            dataclasses.replace(group, resizable=group.id in found) for group in space.groups))  # fmt: skip
        if not self.target:
            limits = Limits(self.min_width, self.max_width, self.step)
            return {**space.widths, **{group.id: limits.fit(found[group.id], group) for group in moving.resizable}}

        def latency(widths: Widths) -> float:
            return engine.latency(engine.resize(engine.load(context.input), widths, fresh=True, seed=0))

        return {**space.widths, **self.target.reached(moving, self.limits, found, latency, bend=self.bends)}

    def _event(self, seen: MaskedEpoch, file: str, fixed: Mapping[str, str]) -> EpochEvent:
        metrics: dict[str, Mapping[str, float]] = {
            **self.figures(seen),
            "width": seen.widths,
            "low": seen.low,
            "high": seen.high,
            "cost": seen.costs,
            "target": seen.targets,
            "lambda": seen.pressures,
            "losses": {"weights": seen.loss, "masks": seen.masks_loss, "held_out": seen.held_out},
            "supernet": {**seen.supernet, "executed": seen.executed},
        }
        alpha = {name: {"options": list(of), "weights": list(seen.weights[name])} for name, of in seen.options.items()}
        state = {"alpha": alpha, **({"fixed": dict(fixed)} if fixed else {})}
        told = {name: of for name, of in metrics.items() if of}
        return EpochEvent(seen.epoch, seen.loss, seen.score, told, state, file)


def _engine(context: Context) -> MaskEngine:
    if not isinstance(context.engine, MaskEngine):
        raise RunError("this engine makes no supernets")
    return context.engine


def missed(metrics: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """A warning for each cost that the masks of an epoch didn't bring to its target, in expectation."""
    for name, target in metrics.get("target", {}).items():
        ratio = metrics["cost"][name] / target
        if abs(math.log(ratio)) > MISSED:
            finer = "a smaller --step or --min-width lets them" if ratio > 1 else "a larger --max-width lets them"
            yield (f"warning: the masks ended at {ratio:.2f} times the target of {name}, so they say little of widths "
                   f"that are at it: {finer} reach it, or more epochs")  # fmt: skip


def _named(fixed: Mapping[str, str]) -> Iterator[str]:
    """The groups without a mask and the reasons, one line each; of many how many there are of a reason."""
    if len(fixed) <= SHOWN:
        yield from (f"note: '{name}' keeps its width: {reason}" for name, reason in fixed.items())
        return
    for reason in dict.fromkeys(fixed.values()):
        names = [name for name, why in fixed.items() if why == reason]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"note: {len(names)} groups keep their widths: {reason} ({', '.join(names[:3])}{more})"
