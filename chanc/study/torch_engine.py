"""The real engine: chanc's rewriter, its PyTorch backend and trainer, onnxruntime for latencies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import onnx_ir as ir

from chanc.errors import IllegalMove, MissingDependencyError, RunError
from chanc.files import atomic_write_json
from chanc.rewriter.importance import Gathered
from chanc.runs import Epoch, read_json
from chanc.runs.events import Metrics
from chanc.study.engine import Edges, MetricOf, Trained, Watcher, stepper
from chanc.study.measure import measured_weights
from chanc.study.prices import Total
from chanc.study.space import Price

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("a search needs torch: pip install 'chanc[torch]'") from error

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from chanc.analysis import analyze
from chanc.backends.torch import Built
from chanc.data import Data, Dataset
from chanc.metrics.evbmf import Minimum
from chanc.metrics.quality import LayerQuality
from chanc.metrics.registry import Weights, measure
from chanc.tasks import configured
from chanc.training.adas import Schedule
from chanc.training.columns import masked
from chanc.training.devices import precision
from chanc.training.dropping import Dropping
from chanc.training.edge_pruning import PruneOptions, Pruning
from chanc.training.evidence import gather
from chanc.training.images import image_input
from chanc.training.latency import Table, measured
from chanc.training.masking import MaskOptions, Policy, Unit, symbols
from chanc.training.module import Trainable, draw_anew, remarks, trainable
from chanc.training.options import TrainOptions
from chanc.training.records import EpochRecord, TrainResult
from chanc.training.supernet import Supernet
from chanc.training.task import Task
from chanc.training.train import rehearse, train
from chanc.transforms import bake_input

JUDGE_EVERY = 10
"""Epochs of a final training from one evaluation to the next: nothing is chosen by them."""


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: on which data (judged on its test part), for what, with which options."""

    data: Data
    task: Task
    options: TrainOptions


@dataclass(frozen=True)
class TorchEngine:
    """Trains trials by one recipe, whose test part is held out from the training set, and final networks by another.

    transfer: how weights follow widths. reset: draw norms and linear layers anew after each change of widths, as the
    public code of CONetV2 does. metrics: what is measured of the layers; methods are told of `quality`. metric_of:
    whether `quality` is measured of the weights W, or of what training made of them, W - W_start, where W_start are the
    weights after the transfer. sizes: of open axes, at which models are analysed, counted and timed. bake: put the
    normalisation of pixels into the best model.
    """

    trial: Recipe
    final: Recipe | None = None
    transfer: str = "grow"
    reset: bool = False
    metrics: Sequence[str] = ("quality",)
    metric_of: MetricOf = "weights"
    sizes: Mapping[str, int] = field(default_factory=dict)
    bake: bool = False

    @property
    def precision(self) -> str:
        """What trials are trained in, "float32" or "bfloat16"."""
        return precision(self.trial.options)

    def load(self, path: Path) -> ir.Model:
        """Read an ONNX model."""
        from chanc.ir import load

        return load(path)

    def save(self, model: ir.Model, path: Path) -> None:
        """Write an ONNX model atomically."""
        from chanc.ir import save

        save(model, path)

    def resize(
        self, model: ir.Model, widths: Mapping[str, int], *, fresh: bool, seed: int, transfer: str | None = None,
        evidence: Gathered | None = None,
    ) -> ir.Model:  # fmt: skip
        """The rewritten model; values that are drawn anew before the training are not worth a transfer.

        Raises IllegalMove where a group can't have the width that is asked for.
        """
        from chanc.rewriter import rewrite

        done = rewrite(
            model,
            dict(widths),
            importance="l2" if evidence is None else "taylor",
            transfer="select" if fresh else transfer or self.transfer,
            seed=seed,
            dims=self.sizes,
            fold=False,
            evidence=evidence,
        )
        for name, reason in done.trace.left.items():
            raise IllegalMove(f"group '{name}' can't have {widths[name]} channels: {reason}")
        rewritten: ir.Model = done.model
        return rewritten

    def evidence(self, model: ir.Model) -> Gathered:
        """What some training images of the trials show."""
        trial = self.trial
        return gather(model, trial.data, trial.task, device=trial.options.device, sizes=self.sizes)

    def price(self, model: ir.Model) -> Price:
        """Parameters and MACs, counted node by node."""
        from chanc.analysis.infer_shapes import infer_shapes
        from chanc.cost.cost import cost
        from chanc.ir import load

        sized = load(model, dims=self.sizes) if self.sizes else model
        infer_shapes(sized)
        return cost(sized)

    def latency(self, model: ir.Model) -> float:
        """Median seconds of one input in onnxruntime."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from chanc.backends.ort import latency

        return latency(model, batch=1, sizes=self.sizes).median_s

    def check(self, model: ir.Model) -> None:
        """Raise ModelError where PyTorch can't express the model, run it on a batch, or find in it what to drop."""
        net = trainable(model, self.trial.task)
        rehearse(net, self.trial.data, self.trial.task)
        for recipe in (self.trial, self.final or self.trial):
            Dropping(net, drop_path=recipe.options.drop_path, spatial=recipe.options.spatial_dropout)

    def remarks(self, model: ir.Model) -> list[str]:
        """Lines on what a training does with quantised weights, and with an end that PyTorch can't express."""
        return remarks(model)

    def complete(self, model: ir.Model) -> None:
        """Put the normalisation of pixels into a best model, in place, where that was asked for."""
        data = self.trial.data
        if self.bake and isinstance(data, Dataset):
            bake_input(model, image_input(model), data.input)

    def export(self, model: ir.Model, folder: Path) -> None:
        """Write model.py, stand-alone PyTorch source, model.safetensors, its weights, and check.py, which compares."""
        from chanc.analysis.infer_shapes import infer_shapes
        from chanc.backends.torch.package import write_package
        from chanc.backends.torch.tail import cut_tail
        from chanc.ir import load
        from chanc.ir.normalize import normalize

        prepared = load(model)
        normalize(prepared)
        infer_shapes(prepared)
        tail = cut_tail(prepared)
        write_package(prepared, folder, "Network", folder / "best.onnx", self.sizes, tail)

    def train(
        self, model: ir.Model, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None,
        watch: Watcher, epochs: int | None = None, checkpoint: Path | None = None,
    ) -> Trained:  # fmt: skip
        """One trial on the search's data."""
        usual, task = self.trial.options, self.trial.task
        options = dataclasses.replace(usual, seed=seed, epochs=epochs or usual.epochs)
        weights = measured_weights(model)
        layers: dict[str, tuple[str, bool]] = {}
        begun_at: dict[str, torch.Tensor] = {}

        def start(net: Trainable) -> None:
            _draw_anew(net.module, seed, everything=fresh, norms_and_linear=self.reset)
            layers.update(_layers(net.built, weights))
            if self.metric_of == "change":
                state = net.module.state_dict()
                begun_at.update({key: state[key].clone() for key, _ in layers.values()})

        def record(epoch: EpochRecord, module: nn.Module) -> dict[str, dict[str, float]]:
            kept = _weights(module, layers, {}, epoch.qualities, options.evbmf)
            change = _weights(module, layers, begun_at, {}, options.evbmf)
            watch.epoch(epoch.epoch, epoch.loss, epoch.score)
            return measure(self.metrics, kept, {"quality": change} if begun_at else {})

        rates = _rates(carry_from) if carry_from is not None else None
        done = train(
            model, self.trial.data, task, options, start=start, on_step=stepper(watch), on_epoch=record, rates=rates,
            checkpoint=checkpoint,
        )  # fmt: skip
        result = done.result
        if carry_to is not None:
            atomic_write_json(carry_to, {"adas": result.optimizer_state["adas"]})
        return Trained(model, _history(result), result.score, result.loss, done.spent)

    def supernet(
        self, model: ir.Model, masking: MaskOptions, policy: Policy, units: Sequence[Unit], *, seed: int
    ) -> Supernet:
        """A masked network, trained by the trials' recipe on their data."""
        trial = self.trial
        options = dataclasses.replace(trial.options, seed=seed)
        return Supernet(model, trial.data, trial.task, options, masking, policy, units, sizes=self.sizes)

    def pruning(self, model: ir.Model, options: PruneOptions, *, seed: int) -> Pruning:
        """A network that loses edges, trained by the trials' recipe on their data."""
        trial = self.trial
        training = dataclasses.replace(trial.options, seed=seed)
        return Pruning(model, trial.data, trial.task, training, options, sizes=self.sizes)

    def price_of(self, model: ir.Model, edges: Edges) -> Price:
        """What the model costs with these edges: params without those that are zero, the MACs of the lowered graph."""
        analysis = analyze(model, dims=self.sizes, fold=False)
        columns = masked(trainable(model, self.trial.task), analysis, edges)
        return Total(columns.edges.cost(columns.kept), self.price(self.lowered(model, edges)).macs)

    def lowered(self, model: ir.Model, edges: Edges) -> ir.Model:
        """The model in which consumers read the kept units alone, as small a graph as pays."""
        from chanc.rewriter import rewrite

        wishes = {name: {group: list(units) for group, units in of.items()} for name, of in edges.items()}
        rewritten: ir.Model = rewrite(model, {"format": 2, "edges": wishes}, dims=self.sizes, fold=False).model
        return rewritten

    def latencies(self, model: ir.Model, units: Sequence[Unit]) -> Table:
        """What each layer takes at widths around its own, in onnxruntime."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        return measured(analyze(model, dims=self.sizes, fold=False), symbols(units), self.sizes)

    def train_final(
        self, model: ir.Model, *, seed: int, checkpoint: Path, watch: Watcher, fresh: bool = True,
        edges: Edges | None = None,
    ) -> Trained:  # fmt: skip
        """A final training, from scratch if `fresh`, scored on the test set, at its end and now and then before.

        It goes on from `checkpoint` where it exists. edges: consumers read these units alone; the columns of others are
        zero throughout.
        """
        if self.final is None:
            raise ValueError("this engine has no recipe for final trainings")
        task, options = self.final.task, dataclasses.replace(self.final.options, seed=seed)

        def start(net: Trainable) -> None:
            _draw_anew(net.module, seed, everything=fresh)
            if edges:
                masked(net, analyze(model, dims=self.sizes, fold=False), edges)

        def record(epoch: EpochRecord, module: nn.Module) -> None:
            watch.epoch(epoch.epoch, epoch.loss, epoch.score)

        done = train(
            model, self.final.data, task, options,
            start=start, on_step=stepper(watch), on_epoch=record, checkpoint=checkpoint, judge_every=JUDGE_EVERY,
        )  # fmt: skip
        return Trained(model, _history(done.result), done.result.score, done.result.loss, done.spent)


def recipe(data: Data, task: str | Task, settings: Mapping[str, Any]) -> Recipe:
    """A recipe for a task; raises RunError for settings that neither the task nor the trainer has."""
    return Recipe(data, *configured(task, settings))


def task_of(asked: str | Task, settings: Mapping[str, Any]) -> Task:
    """The task, with its options among the settings; raises RunError for one that no search can follow."""
    task = configured(asked, settings)[0]
    if task.wants_teacher or not task.higher_is_better:
        why = "it wants a teacher" if task.wants_teacher else "a lower score is the better one"
        raise RunError(f"a search can't follow the task {asked if isinstance(asked, str) else task.name}: {why}")
    return task


def _rates(path: Path) -> Schedule:
    """AdaS's learning rates after an earlier trial; raises RunError where the file is gone or damaged."""
    carried = read_json(path)
    rates = carried.get("adas") if isinstance(carried, dict) else None
    if not isinstance(rates, dict):
        raise RunError(f"{path} holds no learning rates to carry on")
    return cast(Schedule, rates)


def _history(done: TrainResult) -> list[Epoch]:
    """The epochs of a training, those before a checkpoint too."""
    return [Epoch(one.epoch, one.loss, one.score, one.lr, cast(Metrics, one.metrics)) for one in done.history]


def _draw_anew(module: nn.Module, seed: int, *, everything: bool, norms_and_linear: bool = False) -> None:
    """Reset all submodules, or norms and linear layers only, to PyTorch's default initialisation."""
    if not everything and not norms_and_linear:
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draw_anew(module, nn.Module if everything else (_NormBase, nn.Linear))


def _layers(built: Built, weights: Mapping[str, bool]) -> dict[str, tuple[str, bool]]:
    """Initializer -> (state_dict key, whether the first two axes are swapped) of every measured weight."""
    return {
        binding.initializer: (key, weights[binding.initializer])
        for key, binding in built.bindings.items()
        if binding.initializer in weights
    }


def _weights(
    module: nn.Module,
    layers: Mapping[str, tuple[str, bool]],
    begun_at: Mapping[str, torch.Tensor],
    known: Mapping[str, LayerQuality],
    minimum: Minimum,
) -> Weights:
    """The weights of the measured layers, [O, I, k...] on the device where they are, by initializer.

    begun_at: what they are measured against, by state_dict key; nothing is zero. known: what AdaS has measured already.
    """
    state = module.state_dict()
    arrays, qualities = {}, {}
    for name, (key, swap) in layers.items():
        weight = state[key] - begun_at[key].to(state[key].device) if key in begun_at else state[key]
        arrays[name] = weight.swapaxes(0, 1) if swap else weight
        if key in known:
            qualities[name] = known[key].swapped if swap else known[key]
    return Weights(arrays, minimum, qualities)
