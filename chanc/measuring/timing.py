"""How long a model takes in onnxruntime, and how long another one takes beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chanc.backends import ort
from chanc.errors import ModelError, RunError
from chanc.ir import load
from chanc.ir.sizes import Sizes, sizes_of
from chanc.ir.turns import Turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shapes = Mapping[str, tuple[int, ...]]
"""By input."""


@dataclass(frozen=True)
class Timed:
    """A model on one execution provider, and the other that ran in turn with it: latencies, and shapes of the inputs.

    ratio: the other's time over the model's in the same turn.
    """

    latency: ort.Latency
    shapes: Shapes
    other: ort.Latency | None = None
    other_shapes: Shapes | None = None
    ratio: ort.Ratio | None = None


def latency(
    model: Any,
    other: Any = None,
    *,
    providers: Sequence[str] = ("cpu",),
    batch: int | None = None,
    threads: int = 0,
    repeats: int | None = None,
    seconds: float | None = None,
    feeds: Mapping[str, NDArray[Any]] | None = None,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    on_turn: Callable[[float], None] | None = None,
) -> list[Timed]:
    """Time a model in onnxruntime, or two of them in turn, after a warm-up: one `Timed` an execution provider.

    providers: "cpu", "cuda" or others that this onnxruntime has. batch: size of an open batch axis, 1 if not given.
    threads: inside an operator; 0 leaves it to onnxruntime. repeats: timed runs of each model; seconds: of timed runs
    on each provider; what is first reached, 50 runs if neither is given. feeds: inputs by name, of which a model of a
    fixed batch takes the first; without them they are made up, other open axes having the sizes of `dims` and `shapes`
    (`chanc.analyze`). on_turn: is told which share of the work is done.

    Raises: ModelError for a model that can't be loaded or run, or not on that batch; RunError for a provider that there
    isn't, and where nothing is measured; MissingDependencyError without onnxruntime, or where it would take the CPU in
    a provider's place.
    """
    if not providers or threads < 0 or any(given is not None and given <= 0 for given in (batch, repeats, seconds)):
        raise RunError("a latency needs a provider, and a batch, repeats or seconds above 0")
    models = [one for one in (model, other) if one is not None]
    loaded = [load(one, copy=False) for one in models]
    sizes = [sizes_of(one, dims, shapes) for one in loaded]
    taken = None if feeds is None else next(Turns.of(loaded[0]).parts(feeds), None)
    if repeats is None and seconds is None:
        repeats = ort.REPEATS
    found = []
    for number, provider in enumerate(providers):
        runners = [
            ort.runner(one, batch=batch or 1, threads=threads, sizes=given, feeds=taken, device=provider)
            for one, given in zip(models, sizes, strict=True)
        ]
        for one in runners:
            _require_batch(one.shapes, batch)
        tell = None if on_turn is None else _part(on_turn, number, len(providers))
        found.append(_timed(runners, ort.in_turn(runners, repeats=repeats, seconds=seconds, on_turn=tell)))
    return found


def _timed(runners: Sequence[ort.Runner], seconds: ort.Seconds) -> Timed:
    latencies = [ort.summed_up(one, of) for one, of in zip(runners, seconds, strict=True)]
    if len(runners) == 1:
        return Timed(latencies[0], runners[0].shapes)
    return Timed(latencies[0], runners[0].shapes, latencies[1], runners[1].shapes, ort.ratio(seconds[1], seconds[0]))


def _require_batch(shapes: Shapes, batch: int | None) -> None:
    """Raises: ModelError where a batch is asked for and no input has it."""
    if batch is not None and shapes and all(shape[:1] != (batch,) for shape in shapes.values()):
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ModelError(f"the model can't be run on a batch of {batch}: it runs on {told}")


def _part(tell: Callable[[float], None], number: int, count: int) -> Callable[[float], None]:
    """The shares of one of several measurements as shares of all."""
    return lambda share: tell((number + share) / count)
