"""One network whose channel groups have masks: its weights and its widths are trained by turns, epoch by epoch.

epoch: the policy's options -> module resized to the widest ones -> steps of weights and of masks -> evaluation

A choice that leans on a border of its options within an epoch gets others there and then.

    weights   a batch of D_train, the masks fixed: soft as they are, or one option drawn for each unit
    masks     a batch of D_search, the weights fixed (first order): the task's loss and the pressure of the cost

Where a width is drawn the masks' steps see it too, and their gradient goes on as if it had been the soft mask (the
straight-through estimator of Bengio, Leonard, Courville 2013). A soft mask of a narrow group tells too little of what
its channels are worth: the mean loss of all widths that it stands for is far above the loss of their mean.

Everything random in an epoch follows from the seed and the epoch's number, so a checkpoint holds no random state.
"""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from chanc.analysis import analyze
from chanc.analysis.disjoint_set import IntArray
from chanc.clock import Clock
from chanc.data import Data
from chanc.errors import ModelError, RunError
from chanc.training.checkpoint import load_state, save_state
from chanc.training.choices import gumbel
from chanc.training.devices import isolated, pick_device, precision
from chanc.training.dropping import Dropping
from chanc.training.evaluation import evaluate
from chanc.training.expected import FURTHEST, Cost, Expected, Price, certain, held, level
from chanc.training.feed import held_out_feed
from chanc.training.latency import Interpolated
from chanc.training.lessons import begun
from chanc.training.masking import MaskedEpoch, MaskOptions, Policy, Unit, symbols
from chanc.training.masks import Masks
from chanc.training.module import Trainable, draw_anew, to_device, trainable
from chanc.training.optimizers import make_optimizer
from chanc.training.options import TrainOptions
from chanc.training.records import StepInfo
from chanc.training.resizing import first_channels, resized
from chanc.training.schedules import make_schedule
from chanc.training.streams import Streams
from chanc.training.task import Batch, Task
from chanc.training.train import rehearse
from chanc.training.trainer import CHECK_EVERY, OnStep, check_finite, descend

BETAS = (0.5, 0.999)
"""Of the masks' Adam."""

LOOK_EVERY = 4
"""Steps of the masks from one look at what leans to the next: looking makes the CPU wait for the device."""


class _State(TypedDict):
    """Everything that the next epoch depends on."""

    widths: dict[str, int]
    module: dict[str, Tensor]
    optimizer: StateDict
    schedule: StateDict
    choices: dict[str, Tensor]
    adam: StateDict


@dataclass
class _Range:
    """First and last options, by unit; what the widest network of them costs, and samples that it was trained on."""

    low: list[int]
    high: list[int]
    params: int
    macs: int
    samples: int = 0


class Supernet:
    """A masked network in training. `fixed` tells of each group that has no mask why."""

    def __init__(
        self, model: ir.Model, data: Data, task: Task, options: TrainOptions, masking: MaskOptions, policy: Policy,
        units: Sequence[Unit], *, sizes: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """`model` stays as it is; `sizes` are those of its open axes.

        Raises: ModelError where the model can't be trained or no group can be masked; RunError for options that don't
        go with widths that change.
        """
        if options.optimizer == "adas" or options.ema_decay is not None or options.compile:
            raise RunError("a network whose widths change in training takes sgd or adamw, no averaged weights, and "
                           "isn't compiled")  # fmt: skip
        self.device = pick_device(options.device)
        self.data, self.task, self.options, self.masking, self.policy = data, task, options, masking, policy
        self.model, self.sizes = model, dict(sizes or {})
        self.net = trainable(model, task)
        rehearse(self.net, data, task)
        self.masks = self._masks()
        self.units, self.fixed = _maskable(units, self.masks)
        if not self.units:
            told = next(iter(self.fixed.items()), ("", "there is none"))
            raise ModelError(f"no channel group can be masked; of {told[0] or 'the groups'}: {told[1]}")
        self.counted = analyze(model, dims=self.sizes, fold=False)
        self.amp = precision(options) == "bfloat16"
        self._rss = _resident()
        self.ranges: list[_Range] = []
        self.multipliers: list[Tensor] = []

    def begin(self, draw: bool) -> None:
        """Make all that trains; `draw`: weights are drawn anew first."""
        with isolated(self.device, self._seeded(-1)):
            if draw:
                draw_anew(self.net.module)
            to_device(self.net, self.device)
        name, masking = self.net.inputs[0], self.masking
        self.task = begun(self.task, self.net, self.data, self.device, self.options.seed)
        self.streams = Streams(self.data, self.options, name, self.device, split=masking.split, turns=masking.turns)
        self.held_out = held_out_feed(self.data, name, self.device)
        self.noise = torch.Generator()
        self.optimizer = make_optimizer(self.net.module, self.options)
        self.schedule = make_schedule(self.optimizer, self.options, len(self.streams.weights))
        self.expected = self._expected()
        self.degree = max(1, *(cost.degree for cost in self.expected.values()))
        priced = masking.pressure.targets or (masking.cost,)
        start = torch.tensor([float(unit.start) for unit in self.units], dtype=torch.float64, device=self.device)
        self.price = Price({name: self.expected[name] for name in priced}, masking.pressure,
                           certain(start, self.degree))  # fmt: skip
        self.choices = self.policy.begin(self.units, self.device, level(self.price, start, self.degree))
        self.adam = torch.optim.Adam([self.choices.parameter], lr=masking.lr, betas=BETAS)

    def epoch(self, epoch: int, on_step: OnStep | None = None) -> MaskedEpoch:
        """Train for one epoch, and judge. Raises: TrialError for a loss that is not finite."""
        clock = Clock()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with isolated(self.device, self._seeded(epoch)):
            self.policy.advance(self.choices, self.units, epoch, self.options.epochs)
            self.ranges, self.multipliers = [], []
            self.fit()
            clock.lap("resize")
            loss, masks_loss = self._train(epoch, on_step)
            clock.lap("train")
            self._mask(self.choices.judged().detach())
            found = evaluate(self.masked(), self.task, self.held_out, amp=self.amp)
            clock.lap("evaluate")
        told = self._told(epoch, loss, masks_loss, found.loss, found.score)
        return dataclasses.replace(told, seconds=clock.seconds, peak=self._peak())

    def widths(self) -> dict[str, float]:
        """What the masked groups have come to: real numbers, in channels."""
        decided = zip(self.units, self.choices.decided(), strict=True)
        return {name: width * share for unit, width in decided for name, share in unit.shares.items()}

    def narrowed(self, widths: Mapping[str, int]) -> ir.Model:
        """The model at these widths with what was trained, its first channels; ends the search.

        Where it is wider than what was trained last, the rest is drawn.
        """
        with isolated(self.device, self._seeded(self.options.epochs)):
            self._resize({name: widths[name] for name in self.masks.groups if name in widths})
        made: ir.Model = first_channels(self.model, widths, self.sizes, "select").model
        self.net.write_back(made)
        made.metadata_props.update(self.data.metadata())
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the next epoch depends on, whole or not at all."""
        state: _State = {
            "widths": {name: group.size for name, group in self.masks.groups.items()},
            "module": dict(self.net.module.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "choices": self.choices.state(),
            "adam": self.adam.state_dict(),
        }
        save_state(path, cast("dict[str, object]", state))

    def restore(self, path: Path) -> None:
        """Take back what `save` wrote. Raises: RunError for the file of another search."""
        state = cast(_State, load_state(path))
        if state["widths"].keys() != self.masks.groups.keys():
            raise RunError(f"{path} was made with other channel groups")
        self._resize(state["widths"])
        self.net.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.choices.restore(state["choices"])
        self.adam.load_state_dict(state["adam"])

    def _expected(self) -> dict[str, Cost]:
        """The costs as functions of the moments of the units' widths."""
        widths = symbols(self.units)
        try:
            counted = self.counted.cost_at(widths)
        except (TypeError, ValueError, ArithmeticError):
            raise ModelError("what this model costs is no polynomial in its widths: it can't be masked") from None
        found: dict[str, Cost] = {
            "macs": Expected(counted.macs, self.device), "params": Expected(counted.params, self.device)
        }  # fmt: skip
        if (table := self.masking.latency) is not None:
            found["latency_ms"] = Interpolated(table, self.counted, widths, len(self.units), self.device)
        return found

    def _masks(self) -> Masks:
        return Masks(analyze(self.net.graph, dims=self.sizes, fold=False), self.net)

    def _seeded(self, epoch: int) -> TrainOptions:
        # Too few epochs for cuDNN to try its algorithms: the widths are other ones in each epoch.
        seed = np.random.SeedSequence([self.options.seed, epoch + 1]).generate_state(1)[0]
        return dataclasses.replace(self.options, seed=int(seed), epochs=1)

    def fit(self) -> None:
        """Give the module the widest options, and say which factor masks which channel."""
        counts = {name: row for k, unit in enumerate(self.units) for name, row in self._counts(k, unit).items()}
        self._resize({name: int(row[-1]) * self.masks.groups[name].step for name, row in counts.items()})
        widest = self.counted.cost_at({name: group.size for name, group in self.masks.groups.items()})
        first, last = self.choices.options.int()[:, [0, -1]].T.tolist()
        self.ranges.append(_Range(first, last, int(widest.params), int(widest.macs)))
        most = self.choices.options.shape[1]
        numbers = {name: k for k, unit in enumerate(self.units) for name in unit.shares}
        self.masks.place({name: _slots(row, numbers[name], most) for name, row in counts.items()}, self.device)

    def _counts(self, number: int, unit: Unit) -> dict[str, IntArray]:
        """How many of a group's own units each option keeps, by group."""
        options = self.choices.options[number][self.choices.there[number]].cpu().numpy()
        steps = {name: self.masks.groups[name].step for name in unit.shares}
        return {name: np.maximum(np.rint(options * share / steps[name]), 1).astype(np.int64)
                for name, share in unit.shares.items()}  # fmt: skip

    def _resize(self, widths: Mapping[str, int]) -> None:
        """Other widths of the module, its optimizer's state along with it; new channels stand behind the old ones."""
        groups = self.masks.groups
        if all(groups[name].size == width for name, width in widths.items()):
            return
        self.net = resized(self.net, widths, self.optimizer, self.sizes)
        self.masks = self._masks()

    def _mask(self, weights: Tensor) -> None:
        self.masks.factors = self.choices.factors(weights)

    def masked(self) -> Trainable:
        """The network as it is called with masks."""
        return self.net.through(self.masks.run)

    def _train(self, epoch: int, on_step: OnStep | None) -> tuple[float, float]:
        """The mean losses of the weights' and the masks' steps."""
        self.streams.generator.manual_seed(self._seeded(epoch).seed)
        self.noise.manual_seed(self._seeded(epoch).seed + 1)
        self.net.module.train()
        sums, done = torch.zeros(2, dtype=torch.float64, device=self.device), 0
        net, dropping = self.masked(), self._dropping(epoch)
        steps = len(self.streams)
        for step, (masks, batch) in enumerate(self.streams):
            loss = self.masks_step(net, batch) if masks else self.weights_step(net, batch)
            sums[int(masks)] += loss * len(batch)
            self.ranges[-1].samples += len(batch)
            done += masks
            if masks and done % LOOK_EVERY == 0 and self._moved(epoch):
                dropping.remove()
                net, dropping = self.masked(), self._dropping(epoch)
            if step % CHECK_EVERY == 0 or step == steps - 1 or self.device.type == "cpu":
                check_finite(sums.sum(), epoch, step)
            if on_step is not None:
                on_step(StepInfo(epoch, step, steps, loss))
        dropping.remove()
        weights, others = self.streams.samples
        return float(sums[0]) / weights, float(sums[1]) / others

    def _dropping(self, epoch: int) -> Dropping:
        # Anew for each range: a resizing may have made another module.
        dropping = Dropping(self.net, drop_path=self.options.drop_path, spatial=self.options.spatial_dropout)
        dropping.at(epoch / self.options.epochs)
        return dropping

    def _moved(self, epoch: int) -> bool:
        """Whether the ranges have followed a choice that leans on the border of one."""
        if not self.choices.leans():
            return False
        before = self.choices.options
        self.policy.advance(self.choices, self.units, epoch, self.options.epochs)
        if torch.equal(before, self.choices.options):
            return False
        self.fit()
        return True

    def _noise(self) -> Tensor:
        shape = tuple(self.choices.options.shape)
        return gumbel(shape, self.noise).to(self.choices.options, non_blocking=True)

    def loss(self, net: Trainable, batch: Batch) -> Tensor:
        """The task's loss of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            outputs = net.forward(batch.inputs)
            self.task.check(outputs, self.data)
            return self.task.loss(outputs, batch)

    def weights_step(self, net: Trainable, batch: Batch) -> Tensor:
        """Train the weights on a batch; its loss."""
        self.optimizer.zero_grad()
        with torch.no_grad():
            draw = self.choices.sample if self.masking.mode == "sampled" else self.choices.draw
            self._mask(draw(self._noise()))
        loss = self.loss(net, batch)
        descend(loss, self.net.module, self.optimizer, self.options.clip_norm)
        self.schedule.step()
        return loss.detach()

    def masks_step(self, net: Trainable, batch: Batch) -> Tensor:
        """Train the masks on a batch; its loss."""
        noise = self._noise()
        weights = self.choices.draw(noise)
        sampled = self.masking.mode == "sampled"
        self._mask(self.choices.sample(noise) + (weights - weights.detach()) if sampled else weights)
        loss = self.loss(net, batch)
        moments, parameter = self.choices.moments(weights, self.degree), self.choices.parameter
        gaps = self.price.gaps(moments)
        slopes = [torch.autograd.grad(gap, [parameter], retain_graph=True)[0].flatten() for gap in gaps]
        (parameter.grad,) = torch.autograd.grad(loss + self.price(moments), [parameter])
        before = parameter.detach().clone()
        self.adam.step()
        if gaps:
            self._hold(before, torch.stack(gaps).detach().to(before), torch.stack(slopes))
        self.choices.clamp()
        return loss.detach()

    @torch.no_grad()
    def _hold(self, before: Tensor, gaps: Tensor, slopes: Tensor) -> None:
        """Bend the step that was made from `before` so that the costs come to their targets."""
        parameter, state = self.choices.parameter, self.adam.state[self.choices.parameter]
        step = parameter - before
        seen = state["exp_avg_sq"] / (1 - BETAS[1] ** state["step"])
        scale = self.masking.lr / (seen.sqrt() + self.adam.defaults["eps"])
        furthest = torch.full_like(before, FURTHEST * self.masking.lr)
        low, high = (self._kept(before + side * furthest) - before for side in (-1, 1))
        step, multipliers = held(step.flatten(), slopes, gaps, scale.flatten(), low.flatten(), high.flatten())
        parameter.copy_(before + step.view_as(before))
        self.multipliers.append(multipliers)

    def _kept(self, wanted: Tensor) -> Tensor:
        """What the choices make of a parameter that is out of bounds."""
        self.choices.parameter.copy_(wanted)
        self.choices.clamp()
        return self.choices.parameter.detach().clone()

    @torch.no_grad()
    def _told(self, epoch: int, loss: float, masks_loss: float, held_out: float, score: float) -> MaskedEpoch:
        names = [unit.name for unit in self.units]
        weights = self.choices.weights()
        moments = self.choices.moments(weights, self.degree)
        there = self.choices.there.tolist()
        options, shares = (
            {name: [number for number, is_there in zip(row, exists, strict=True) if is_there]
             for name, row, exists in zip(names, rows, there, strict=True)}
            for rows in (self.choices.options.int().tolist(), weights.tolist())
        )  # fmt: skip
        widest = max(self.ranges, key=lambda one: one.macs)
        lows, highs = (zip(*sides, strict=True) for sides in ([one.low for one in self.ranges],
                                                             [one.high for one in self.ranges]))  # fmt: skip
        return MaskedEpoch(
            epoch, loss, masks_loss, held_out, score,
            low=dict(zip(names, map(min, lows), strict=True)),
            high=dict(zip(names, map(max, highs), strict=True)),
            widths=dict(zip(names, moments[:, 1].tolist(), strict=True)),
            means=dict(zip(names, self.choices.centres(), strict=True)),
            options=options,
            weights=shares,
            costs={name: float(cost(moments)) for name, cost in self.expected.items()},
            targets=dict(self.masking.pressure.targets),
            pressures=self._pressures(),
            supernet={"params": widest.params, "macs": widest.macs},
            executed=sum(one.macs * one.samples for one in self.ranges),
        )  # fmt: skip

    def _pressures(self) -> dict[str, float]:
        """By cost lambda, of an epoch's steps the mean."""
        pressure = self.masking.pressure
        if pressure.weight is not None:
            return dict.fromkeys(self.price.costs, pressure.weight)
        return dict(zip(pressure.held, torch.stack(self.multipliers).mean(0).tolist(), strict=True))

    def _peak(self) -> int:
        """Peak bytes: of torch's allocator on a GPU, in this epoch; else resident above those at the search's start."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident() - self._rss


def _resident() -> int:
    """The largest resident set that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _slots(counts: IntArray, number: int, most: int) -> IntArray:
    """For each unit of a group the factor that masks it: that of the first option which keeps it."""
    return 1 + number * most + np.searchsorted(counts, np.arange(counts[-1]), side="right")


def _maskable(units: Sequence[Unit], masks: Masks) -> tuple[tuple[Unit, ...], dict[str, str]]:
    """The units whose groups can all be masked, and the others' groups with the reason."""
    fixed: dict[str, str] = {}
    for unit in units:
        reasons = {name: masks.reasons.get(name, "the network that trains doesn't have it")
                   for name in unit.shares if name not in masks.groups}  # fmt: skip
        tied = next(iter(reasons), "")
        fixed |= {name: reasons.get(name, f"it is tied to '{tied}'") for name in unit.shares if tied}
    return tuple(unit for unit in units if fixed.keys().isdisjoint(unit.shares)), fixed
