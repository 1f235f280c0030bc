"""CNAS, channel-level architecture search: the least salient inputs of all layers go, step by step.

    train the whole model; repeat: saliency over some batches, drop a tenth of the inputs that are left, train an epoch

until a share of the parameters is left. What a layer's inputs are, and what they cost: `chanc.training.consumers`; the
forms of saliency: `chanc.training.columns`. The paper's own, 1 / (x dx) summed up, ranks inputs whose loss hangs on
them negatively, and dead ones, as the most important: `reciprocal` is what it can mean. What the search ends with has
its trained weights: the final training of `tuned` starts from them (CNAS-W), that of `found` from scratch (CNAS-R).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import onnx_ir as ir

from chanc import fields
from chanc.errors import RunError
from chanc.runs import Best, Decision, EpochEvent, Event, StateEvent, Timing, best
from chanc.runs.edges import TRAINED
from chanc.study.engine import Edges, Engine, stepper
from chanc.study.methods.protocol import Context
from chanc.study.methods.registry import register
from chanc.study.space import Space

if TYPE_CHECKING:
    from chanc.training.edge_pruning import PrunedEpoch, PruneOptions, Pruning

FOLDER = "edges"
SHOWN = 8
"""So many weights that keep their inputs are named one by one."""


@runtime_checkable
class EdgeEngine(Engine, Protocol):
    """An engine that prunes what single consumers read."""

    def pruning(self, model: ir.Model, options: PruneOptions, *, seed: int) -> Pruning:
        """A network on the search's data that loses edges. Raises ModelError where it has none."""

    def lowered(self, model: ir.Model, edges: Edges) -> ir.Model:
        """The model in which consumers read the kept units alone, as small a graph as pays."""


@register("cnas")
@dataclass(frozen=True)
class Cnas:
    """Channels pruned consumer by consumer; `random` draws what goes, the rival at the same number of params."""

    name: ClassVar[str]

    sparsity: float = field(default=0.5, metadata={
        "help": "Share of the model's params that go.", "range": (0, 0.999)})
    gamma: float = field(default=0.1, metadata={
        "help": "Share of the inputs that are left which a step takes.", "range": (0.001, 1)})
    saliency: Literal["taylor", "reciprocal", "squared", "elementwise", "random"] = field(default="taylor", metadata={
        "help": "What tells which inputs go: |sum of x dx|, the paper's reciprocal of it, its square, |x dx| value by "
                "value, or nothing."})
    batches: int = field(default=50, metadata={
        "help": "Batches over which the saliency is summed, in each step.", "range": (1, math.inf)})
    tune_lr: float = field(default=1e-4, metadata={
        "help": "Learning rate of the epochs between the steps.", "range": (0, math.inf)})
    consumers: str = field(default="*", metadata={
        "help": "Patterns of the weights that may drop inputs, with commas between ('*.pointwise.*')."})

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range."""
        if wrong := fields.fault(self):
            raise ValueError(wrong)

    def run(self, context: Context) -> Iterator[Event]:
        """An event an epoch, and the decision."""
        if best(context.record) is not None:
            return
        net, done = self._net(context), context.record.of(EpochEvent)
        if done:
            net.restore(context.record.path / done[-1].file)
        epoch = len(done)
        while not net.done(epoch):
            seen = net.epoch(epoch, stepper(context.watch))
            file = context.folder(FOLDER) / f"{epoch:03d}.safetensors"
            net.save(file)
            context.timed(Timing(f"epoch {epoch}", seen.seconds))
            context.watch.epoch(epoch, seen.loss, seen.score)
            yield _event(seen, f"{FOLDER}/{file.name}", {} if epoch else net.edges.fixed)
            file.with_name(f"{epoch - 1:03d}.safetensors").unlink(missing_ok=True)
            epoch += 1
        engine, edges, folder = _edge_engine(context.engine), net.decided(), context.folder(FOLDER)
        trained = net.trained()
        engine.save(trained, context.record.path / TRAINED)
        engine.save(engine.lowered(trained, edges), folder / "model.onnx")
        yield StateEvent({}, best=Best(Decision(edges=edges)), file=f"{FOLDER}/model.onnx")

    def drawn(self, engine: Engine, space: Space, source: Path, seed: int) -> Callable[[int], Decision]:
        """Random edges of the model at `source` that leave the same share of its params, for each of some turns."""
        one_step = dataclasses.replace(self, saliency="random", gamma=1.0)._options(space)
        net = _edge_engine(engine).pruning(engine.load(source), one_step, seed=seed)
        return lambda turn: Decision(edges=net.drawn(turn))

    def _options(self, space: Space) -> PruneOptions:
        from chanc.training.cutting import Goal
        from chanc.training.edge_pruning import PruneOptions

        keep = tuple(group.id for group in space.groups if not group.resizable)
        wanted = tuple(word for part in self.consumers.split(",") if (word := part.strip()))
        goal = Goal(1 - self.sparsity, self.gamma)
        return PruneOptions(goal, self.saliency, self.batches, self.tune_lr, wanted, keep)

    def _net(self, context: Context) -> Pruning:
        engine = _edge_engine(context.engine)
        net = engine.pruning(engine.load(context.input), self._options(context.space), seed=context.seed)
        net.begin(draw=context.fresh)
        for line in _named(net.edges.fixed):
            context.say(line)
        return net


def _event(seen: PrunedEpoch, file: str, fixed: Mapping[str, str]) -> EpochEvent:
    """left: inputs and params in all; inputs: of each weight. The state tells what went before the epoch."""
    metrics = {
        "left": {"inputs": float(seen.inputs), "params": float(seen.params)},
        "inputs": {name: float(count) for name, count in seen.counts.items()},
        "losses": {"weights": seen.loss, "held_out": seen.held_out},
        "rate": {"lr": seen.rate},
    }
    told = {"cut": seen.cut, "fixed": dict(fixed)}
    return EpochEvent(seen.epoch, seen.loss, seen.score, metrics, {key: of for key, of in told.items() if of}, file)


def _edge_engine(engine: Engine) -> EdgeEngine:
    if not isinstance(engine, EdgeEngine):
        raise RunError("this engine prunes no edges")
    return engine


def _named(fixed: Mapping[str, str]) -> Iterator[str]:
    """The weights that keep their inputs and the reasons, one line each; of many how many there are of a reason."""
    for reason in dict.fromkeys(fixed.values()):
        names = [name for name, why in fixed.items() if why == reason]
        if len(names) == 1 or len(fixed) <= SHOWN:
            yield from (f"note: '{name}' keeps its inputs: {reason}" for name in names)
            continue
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"note: {len(names)} weights keep their inputs: {reason} ({', '.join(names[:3])}{more})"
