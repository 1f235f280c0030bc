"""Closed-form recovery: what is left of a shrunken model, refitted to the original on calibration inputs.

Layer by layer in the graph's order, each by ridge regression (`ridge`) of what the original makes there on what the
rewritten model feeds the layer by then, so that it makes up for errors before it, as far as what it reads tells of
them. He, Zhang and Sun 2017 do so for convolutions and their residual streams. No labels, no gradients.

The original runs once over the inputs, the rewritten model once as well, in parts from layer to layer; of each tensor
some positions count, several times as many as the layer has unknowns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis.infer_shapes import infer_shapes
from chanc.boundary import boundary
from chanc.errors import DataError, ModelError
from chanc.ir import like, load
from chanc.ir.normalize import normalize
from chanc.rewriter import Rewrite, Trace
from chanc.transforms._edit import Editor
from chanc.transforms.recovery.agreement import errors
from chanc.transforms.recovery.frontier import Feeds, Frontier
from chanc.transforms.recovery.layers import Layer, Left, find
from chanc.transforms.recovery.ridge import EXACT, Fit, joined, refit
from chanc.transforms.recovery.targets import Target, observe
from chanc.transforms.recovery.write import plain, refresh, write

JUDGED = 10
"""One batch in so many is kept for the outputs: no layer is fitted to it, or judged by it."""


@dataclass(frozen=True, slots=True)
class Refit:
    """A layer by the name of its weight: relative error of what it makes, on inputs held out, before and after.

    Both are the same where it was left alone, and NaN where that isn't known; `reason` says why.
    """

    layer: str
    before: float
    after: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The model, of the kind that came in, its layers, and the relative error of its outputs before and after.

    The outputs are judged on batches that no layer has seen, if there are two or more.
    """

    model: Any
    layers: tuple[Refit, ...]
    before: float
    after: float

    def __str__(self) -> str:
        mended = sum(layer.after < layer.before for layer in self.layers)
        return (
            f"reconstructed: {mended} of {len(self.layers)} layers refitted; "
            f"outputs were off by {self.before:.1%} of their spread, now by {self.after:.1%}"
        )


@boundary("the reconstruction")
def reconstruct(
    original: Any, rewritten: Any, inputs: Iterable[Feeds], *, trace: Trace | None = None, seed: int = 0
) -> Reconstruction:
    """Refit the layers of a rewritten model to the original; neither is changed.

    rewritten: a `Rewrite`, or its model with its `trace`. inputs: batches of the model's inputs, {name: array}; a few
    hundred samples do. They are gone through once, and kept. seed: of the positions that count.

    Weights, biases and norms are refitted where that is better on inputs that were held out, and all of it only if the
    outputs are. BatchNorm behind a layer gets the statistics of what it reads by then. Weights in other types than
    float32 and float64, and weights that several layers share, stay as they are; `layers` says so.

    Raises: DataError without inputs; ModelError where a model doesn't run on them, or where they are no such pair.
    """
    if isinstance(rewritten, Rewrite):
        given, trace = rewritten.model, rewritten.trace
    else:
        given = rewritten
    if trace is None:
        raise ModelError("a rewritten model is reconstructed by its trace; give that, or the Rewrite")
    batches = list(inputs)
    if not batches:
        raise DataError("a reconstruction needs at least one batch of inputs")
    teacher, before = load(original), load(given)
    normalize(teacher)
    model = load(before)
    normalize(model)
    infer_shapes(model)
    infer_shapes(teacher)
    layers, left = _in_place(*find(model, trace), teacher)
    used, judged = _parted(batches)
    refits = list(_refits(model, layers, observe(teacher, layers, used, seed), used))
    refits += [Refit(name, np.nan, np.nan, reason) for name, reason in left.items()]
    old, new = errors(teacher, (before, model), judged)
    if new > old or np.isnan(new):
        refits = [Refit(refit.layer, refit.before, refit.before, "the outputs would be worse") for refit in refits]
        return Reconstruction(given, tuple(refits), old, old)
    return Reconstruction(like(model, given), tuple(refits), old, new)


def _in_place(layers: Sequence[Layer], left: Left, teacher: ir.Model) -> tuple[list[Layer], Left]:
    """The layers but for those whose rows are others than in the original, which are left: channels lie among them."""
    made = {value.name: value for node in teacher.graph for value in node.outputs}

    def moved(layer: Layer) -> bool:
        own, other = layer.tail.end, made.get(layer.tail.end.name)
        if other is None or own.shape is None or other.shape is None or len(own.shape) != len(other.shape):
            return False
        pairs = list(zip(own.shape, other.shape, strict=True))
        del pairs[layer.axis]
        return any(isinstance(one, int) and isinstance(two, int) and one != two for one, two in pairs)

    reason = "its rows are others than in the original"
    return [one for one in layers if not moved(one)], left | {one.name: reason for one in layers if moved(one)}


def _parted(batches: Sequence[Feeds]) -> tuple[Sequence[Feeds], Sequence[Feeds]]:
    """Batches for the layers, and those, one in ten, on which the outputs are judged; a single one is for both."""
    every = min(JUDGED, len(batches))
    return [batch for turn, batch in enumerate(batches, 1) if turn % every] or batches, batches[every - 1 :: every]


def _refits(
    model: ir.Model, layers: Sequence[Layer], targets: Sequence[list[Target]], batches: Sequence[Feeds]
) -> Iterator[Refit]:
    """Refit layer after layer, in place; each sees what those before it make by then. Uses up the targets."""
    editor, frontier = Editor(model), Frontier(model, batches)
    for layer, aims in zip(layers, targets, strict=True):
        stream = [layer.tail.stream] if layer.tail.stream is not None else []
        steps = frontier.advance(layer.index, [layer.source, *stream])
        found = [aim.rows(layer, values) for aim, values in zip(aims, steps, strict=True)]
        aims.clear()
        ours, held = zip(*found, strict=True)
        rows = joined([*ours, *held])
        fit = refit(rows, sum(part.y.shape[1] for part in ours), *plain(layer), free=bool(layer.tail.places))
        if fit.better:
            write(editor, layer, fit)
        refresh(editor, layer, rows.x)
        yield Refit(layer.name, fit.before, fit.after, _reason(fit))


def _reason(fit: Fit) -> str:
    """Why a layer stays as it is; '' where it doesn't."""
    if np.isnan(fit.before):
        return "there are too few inputs"
    return "" if fit.better else "it is exact as it is" if fit.before < EXACT else "no better on inputs held out"
