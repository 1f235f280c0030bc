"""What the original makes of the inputs at the ends of layers, at some positions of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.backends.ort import run, session
from chanc.errors import ModelError
from chanc.transforms._edit import Array
from chanc.transforms.recovery.frontier import Feeds, part
from chanc.transforms.recovery.layers import Layer
from chanc.transforms.recovery.ridge import Rows
from chanc.transforms.recovery.rows import Positions, at, read, sample
from chanc.transforms.recovery.write import plain

LEAST, EACH, MOST = 2048, 4, 3 << 24
"""Rows of a layer: at least so many, so many for each unknown, and no more than fill so many numbers (200 MB)."""
FOLDS = 5
"""One batch in so many is held out; one of fewer where there are fewer, and of a single one some rows."""


@dataclass(frozen=True, slots=True)
class Target:
    """Positions of a tensor of that shape (in rewritten channels): what is there, [P, O], and if it is held out."""

    positions: Positions
    shape: tuple[int, ...]
    y: Array
    held: NDArray[np.bool_]

    def rows(self, layer: Layer, values: Feeds) -> tuple[Rows, Rows]:
        """The rows of a batch, given the tensors that the layer reads: those to fit, and those that are held out.

        Rows of which something is not finite are in neither.
        """
        x = read(layer, values[layer.source.name or ""], self.positions, self.shape)
        y = self.y
        if layer.tail.stream is not None:
            stream = np.broadcast_to(values[layer.tail.stream.name or ""], self.shape)
            y = y - at(stream, layer.axis, self.positions)
        rows = Rows(x, y.reshape(len(y), layer.groups, -1).transpose(1, 0, 2))
        told = np.isfinite(x).all(axis=(0, 2)) & np.isfinite(y).all(axis=1)
        return rows.where(told & ~self.held), rows.where(told & self.held)


def observe(model: ir.Model, layers: Sequence[Layer], batches: Sequence[Feeds], seed: int) -> list[list[Target]]:
    """The targets of each layer, batch by batch, in one run of the original over the batches.

    Raises: ModelError where it doesn't run, or lacks a tensor at which a layer ends.
    """
    targets: list[list[Target]] = [[] for _ in layers]
    made = {value.name: value for node in model.graph for value in node.outputs}
    names = list(dict.fromkeys(layer.tail.end.name or "" for layer in layers))
    missing = [name for name in names if name not in made]
    if missing:
        raise ModelError(f"the original has no tensor '{missing[0]}': the model was not made from it")
    if not layers:
        return targets
    opened = session(part(model, model.graph.inputs, [made[name] for name in names], batches[0]))
    reads = [value.name for value in opened.get_inputs()]
    rng = np.random.default_rng(seed)
    every = min(FOLDS, len(batches))
    counts = [-(-_wanted(layer) // len(batches)) for layer in layers]
    for turn, batch in enumerate(batches):
        found = dict(zip(names, run(opened, {name: batch[name] for name in reads if name in batch}), strict=True))
        for layer, count, aims in zip(layers, counts, targets, strict=True):
            held = turn % every == every - 1 if every > 1 else None
            aims.append(_target(layer, found[layer.tail.end.name or ""], count, held, rng))
    return targets


def _wanted(layer: Layer) -> int:
    groups, unknowns, _ = plain(layer)[0].shape
    return int(max(1, min(max(LEAST, EACH * unknowns), MOST // (groups * unknowns))))


def _target(layer: Layer, tensor: Array, count: int, held: bool | None, rng: np.random.Generator) -> Target:
    """`held`: whether the batch is held out, None for some of its rows."""
    positions = sample(tensor.shape, layer.axis, count, rng)
    y = at(tensor, layer.axis, positions)
    if layer.kept is not None:
        if layer.kept.max() >= y.shape[1]:
            raise ModelError(f"'{layer.tail.end.name}' of the original has {y.shape[1]} channels: it is another model")
        y = y[:, layer.kept]
    if y.shape[1] != layer.tail.scale.size:
        raise ModelError(f"'{layer.tail.end.name}' has {layer.tail.scale.size} channels, {y.shape[1]} in the original")
    shape = list(tensor.shape)
    shape[layer.axis] = y.shape[1]
    rows = np.arange(len(positions)) % FOLDS == FOLDS - 1
    return Target(positions, tuple(shape), y, rows if held is None else np.full(len(positions), held))
