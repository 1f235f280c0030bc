"""How each operator works on transposed data: the rules behind `channels_first`.

With v = Transpose(u, perm), axis i of v is axis perm[i] of u. A rule says how a node that reads v must change to read u
instead, and how its outputs are then laid out; None where it can't. Sources: the ONNX specifications of the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from chanc.ops import Trait, has
from chanc.transforms._edit import Array, content

Perm = tuple[int, ...]

_AXIS_IS_ONE = 13


@dataclass(frozen=True)
class Reading:
    """A node that reads transposed data: `sources` are the untransposed inputs, None for those that are as they were.

    `version` is the opset of the standard domain.
    """

    node: ir.Node
    perm: Perm
    sources: tuple[ir.Value | None, ...]
    version: int

    def axis(self, axis: int) -> int:
        """The number of an axis in the untransposed data."""
        return self.perm[axis]

    def constant(self, index: int) -> Array | None:
        """The content of an input that is a fixed constant."""
        inputs = self.node.inputs
        return fixed(inputs[index]) if index < len(inputs) else None

    def absent(self, index: int) -> bool:
        """Whether an optional input isn't given."""
        return index >= len(self.node.inputs) or self.node.inputs[index] is None

    def spread(self, values: Sequence[int | float] | Array) -> list[int | float]:
        """One number an axis, in the order of the untransposed data."""
        found: list[int | float] = [0] * len(self.perm)
        for axis, value in zip(self.perm, np.asarray(values).ravel().tolist(), strict=True):
            found[axis] = value
        return found


@dataclass(frozen=True)
class Move:
    """What a node becomes: the layout of its outputs, attributes and constant inputs with other values."""

    perm: Perm
    attributes: Mapping[str, int | float | Sequence[int | float]] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)


def fixed(value: ir.Value | None) -> Array | None:
    """The content of a constant that a caller of the model can't override."""
    if value is None:
        return None
    return None if value.is_graph_input() else content(value)


def identity(rank: int) -> Perm:
    """The permutation that changes nothing."""
    return tuple(range(rank))


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes another."""
    return tuple(int(axis) for axis in np.argsort(perm))


def ones(value: ir.Value) -> bool:
    """Whether a value is known to have a single element."""
    return value.shape is not None and all(size == 1 for size in value.shape)


def keeps_order(shape: ir.Shape | None, perm: Perm) -> bool:
    """Whether a Transpose of data of that shape only moves axes of size 1, so that elements stay where they are."""
    if shape is None or len(shape) != len(perm):
        return False
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _same(reading: Reading) -> Move | None:
    return Move(reading.perm) if reading.sources[0] is not None else None


def fitted(array: Array, perm: Perm, *, full: bool = False) -> Array | None:
    """A constant as it broadcasts against the untransposed data; `full` keeps its axes of size 1 in front."""
    if array.ndim > len(perm):
        return None
    wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape).transpose(inverse(perm))
    lead = next((k for k, size in enumerate(wide.shape) if size != 1), wide.ndim)
    return wide if full or array.ndim == len(perm) else wide.reshape(wide.shape[lead:])


def _nary(reading: Reading) -> Move | None:
    constants: dict[int, Array] = {}
    for index, source in enumerate(reading.sources):
        array = reading.constant(index) if source is None else None
        if array is None or (array.size == 1 and array.ndim <= len(reading.perm)):
            continue
        new = fitted(array, reading.perm)
        if new is None:
            return None
        constants[index] = new
    return Move(reading.perm, constants=constants)


def _concat(reading: Reading) -> Move | None:
    constants: dict[int, Array] = {}
    for index, source in enumerate(reading.sources):
        if source is None:
            array = reading.constant(index)
            if array is None or array.ndim != len(reading.perm):
                return None
            constants[index] = array.transpose(inverse(reading.perm))
    return Move(reading.perm, {"axis": reading.axis(reading.node.attributes.get_int("axis", 0))}, constants)


def _split(reading: Reading) -> Move | None:
    if reading.sources[0] is None:
        return None
    return Move(reading.perm, {"axis": reading.axis(reading.node.attributes.get_int("axis", 0))})


def _softmax(reading: Reading) -> Move | None:
    # Before opset 13 all axes from `axis` on were normalised together.
    if reading.version < _AXIS_IS_ONE:
        return None
    return Move(reading.perm, {"axis": reading.axis(reading.node.attributes.get_int("axis", -1))})


def without(perm: Perm, axes: Sequence[int]) -> Perm:
    """The layout that is left when these axes of the transposed data go."""
    gone = {axis % len(perm) for axis in axes}
    kept = [source for axis, source in enumerate(perm) if axis not in gone]
    return tuple(sorted(kept).index(source) for source in kept)


def _axes(reading: Reading, index: int = 1) -> tuple[list[int], Move] | None:
    """The axes of a node, by attribute or constant input, and the Move that renumbers them."""
    if "axes" in reading.node.attributes:
        axes = [int(axis) for axis in reading.node.attributes["axes"].as_ints()]
        return axes, Move(reading.perm, {"axes": [reading.axis(axis) for axis in axes]})
    array = reading.constant(index)
    if array is None:
        return None
    axes = [int(axis) for axis in array.ravel().tolist()]
    return axes, Move(reading.perm, constants={index: np.array([reading.axis(axis) for axis in axes], dtype=np.int64)})


def _reduce(reading: Reading) -> Move | None:
    keep = reading.node.attributes.get_int("keepdims", 1)
    found = _axes(reading)
    if found is not None and found[0]:
        axes, move = found
        return move if keep else Move(without(reading.perm, axes), move.attributes, move.constants)
    if not reading.absent(1) and found is None:
        return None
    whole = keep == 1 or reading.node.attributes.get_int("noop_with_empty_axes", 0) == 1
    return Move(reading.perm if whole else ())


def _arg(reading: Reading) -> Move | None:
    axis = reading.node.attributes.get_int("axis", 0)
    keep = reading.node.attributes.get_int("keepdims", 1)
    return Move(reading.perm if keep else without(reading.perm, [axis]), {"axis": reading.axis(axis)})


def _squeeze(reading: Reading) -> Move | None:
    found = _axes(reading)
    if found is None or not found[0]:
        return None
    return Move(without(reading.perm, found[0]), found[1].attributes, found[1].constants)


def _slice(reading: Reading) -> Move | None:
    if "starts" in reading.node.attributes and "axes" not in reading.node.attributes:
        count = len(reading.node.attributes["starts"].as_ints())
        return Move(reading.perm, {"axes": list(reading.perm[:count])})
    if "starts" in reading.node.attributes or not reading.absent(3):
        found = _axes(reading, 3)
        return found[1] if found is not None else None
    starts = reading.constant(1)
    if starts is None:
        return None
    return Move(reading.perm, constants={3: np.array(reading.perm[: starts.size], dtype=starts.dtype)})


def _pad(reading: Reading) -> Move | None:
    rank = len(reading.perm)
    if not reading.absent(3):
        found = _axes(reading, 3)
        return found[1] if found is not None else None
    attribute = reading.node.attributes.get("pads")
    pads = np.array(attribute.as_ints()) if attribute is not None else reading.constant(1)
    if pads is None or pads.size != 2 * rank:
        return None
    new = reading.spread(pads[:rank]) + reading.spread(pads[rank:])
    return Move(reading.perm, {"pads": new}) if attribute is not None else Move(
        reading.perm, constants={1: np.array(new, dtype=np.int64)}
    )  # fmt: skip


def _resize(reading: Reading) -> Move | None:
    node = reading.node
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return None
    if "axes" in node.attributes:
        axes = [reading.axis(axis) for axis in node.attributes["axes"].as_ints()]
        return Move(reading.perm, {"axes": axes})
    if "scales" in node.attributes:
        return Move(reading.perm, {"scales": reading.spread(node.attributes["scales"].as_floats())})
    constants: dict[int, Array] = {}
    for index in range(1, len(node.inputs)):
        array = reading.constant(index)
        if array is None and not reading.absent(index):
            return None
        if array is not None and array.size == len(reading.perm):
            constants[index] = np.array(reading.spread(array), dtype=array.dtype)
    return Move(reading.perm, constants=constants) if constants else None


def _vector(reading: Reading) -> Move | None:
    """Tile and Expand: one number an axis."""
    array = reading.constant(1)
    if array is None or array.size != len(reading.perm):
        return None
    return Move(reading.perm, constants={1: np.array(reading.spread(array), dtype=array.dtype)})


def _gather(reading: Reading) -> Move | None:
    indices = reading.node.inputs[1]
    if reading.sources[0] is None or reading.sources[1] is not None or indices is None or indices.shape is None:
        return None
    axis = reading.node.attributes.get_int("axis", 0)
    perms = {0: without(reading.perm, [axis]), 1: reading.perm}
    rank = len(indices.shape)
    return Move(perms[rank], {"axis": reading.axis(axis)}) if rank in perms else None


def _flatten(reading: Reading) -> Move | None:
    source = reading.sources[0]
    if source is None or source.shape is None or not keeps_order(source.shape, reading.perm):
        return None
    axis = reading.node.attributes.get_int("axis", 1)
    axis += len(reading.perm) if axis < 0 else 0
    before = {k for k in reading.perm[:axis] if source.shape[k] != 1}
    return Move(identity(2)) if before == {k for k in range(axis) if source.shape[k] != 1} else None


def _reshape(reading: Reading) -> Move | None:
    source, target = reading.sources[0], reading.constant(1)
    if source is None or source.shape is None or target is None or not keeps_order(source.shape, reading.perm):
        return None
    new = [int(size) for size in target.ravel().tolist()]
    if 0 in new and reading.node.attributes.get_int("allowzero", 0) == 1:
        return None
    for k, size in enumerate(new):
        if size == 0 and reading.perm[k] != k:
            copied = source.shape[reading.perm[k]]
            if not isinstance(copied, int):
                return None
            new[k] = copied
    same = new == target.ravel().tolist()
    return Move(identity(len(new)), constants={} if same else {1: np.array(new, dtype=np.int64)})


Rule = Callable[[Reading], Move | None]
_RULES: dict[str, Rule] = {
    "ArgMax": _arg, "ArgMin": _arg, "Concat": _concat, "Expand": _vector, "Flatten": _flatten, "Gather": _gather,
    "LogSoftmax": _softmax, "Pad": _pad, "Reshape": _reshape, "Resize": _resize, "Slice": _slice,
    "Softmax": _softmax, "Split": _split, "Squeeze": _squeeze, "Tile": _vector, "Upsample": _resize,
}  # fmt: skip
_KINDS = {Trait.BROADCAST: _nary, Trait.ELEMENTWISE: _same, Trait.REDUCTION: _reduce}


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node's operator, which is one of the standard domain; None where there is none."""
    if node.domain not in ("", "ai.onnx"):
        return None
    kinds = (rule for trait, rule in _KINDS.items() if has(node, trait))
    return _RULES.get(node.op_type) or next(kinds, None)


def joins(node: ir.Node) -> bool:
    """Whether a node treats all its inputs alike."""
    return has(node, Trait.BROADCAST) or node.op_type == "Concat"
