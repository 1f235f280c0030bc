"""What is refitted: layers with weights, and norms with a scale and a shift, that see what a rewrite did before them.

Behind a layer lies its tail, what is done to each channel alone: BatchNorm, a constant that is added or multiplied, and
the Add that joins a residual stream, if the other branch is known by then,

    end = a (W x + b) + shift + stream

`end` is what must come out as in the original. So a layer makes up for errors of the stream, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called, captured_by
from chanc.ops import Trait, has, weight_of
from chanc.rewriter.trace import Trace
from chanc.transforms._edit import Array, content, float64, is_op, only_use
from chanc.transforms.fold_batchnorm import affine

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
PRODUCTS = ("Gemm", "MatMul")
KERNELS = ("Conv", "ConvTranspose")


class Place(NamedTuple):
    """A constant that shifts each channel: an input of a node, and by what the rest of the tail multiplies it, [O]."""

    node: ir.Node
    input: int
    after: Array


@dataclass(slots=True)
class Tail:
    """What happens to a layer's channels, [O], up to `end`: times `scale`, plus `shift`, plus the tensor `stream`.

    norm: the BatchNorm that reads the layer itself.
    """

    end: ir.Value
    scale: Array
    shift: Array
    places: list[Place] = field(default_factory=list)
    norm: ir.Node | None = None
    stream: ir.Value | None = None

    def times(self, factor: Array) -> None:
        """Multiply each channel."""
        self.scale, self.shift = self.scale * factor, self.shift * factor
        self.places = [place._replace(after=place.after * factor) for place in self.places]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the rewritten model.

    index: its place in the graph's order. kept: the channel of the original that each of its outputs is, [O]; None
    where they are the same. A norm has no weight: it is refitted by what it gives as it is.
    """

    node: ir.Node
    index: int
    tail: Tail
    kept: Array | None = None

    @property
    def name(self) -> str:
        """The name of the weight, or of a norm's scale."""
        return _name(self.node)

    @property
    def is_norm(self) -> bool:
        """Whether it is a norm."""
        return has(self.node, Trait.NORM)

    @property
    def axis(self) -> int:
        """The axis of the channels in what it makes."""
        return 1 if is_op(self.node, *KERNELS) or has(self.node, Trait.CHANNELWISE) else -1

    @property
    def source(self) -> ir.Value:
        """The tensor of which the end is a linear function."""
        value = self.node.outputs[0] if self.is_norm else self.node.inputs[0]
        assert value is not None
        return value

    @property
    def groups(self) -> int:
        """How many groups of outputs see other inputs: those of a convolution; a norm's channels are alone."""
        if self.is_norm:
            return self.tail.scale.size
        return self.node.attributes.get_int("group", 1) if is_op(self.node, *KERNELS) else 1


Left = dict[str, str]
"""Layers that are left alone, by name, and why."""


def find(model: ir.Model, trace: Trace) -> tuple[list[Layer], Left]:
    """The layers of a rewritten model whose inputs, or whose residual stream, a rewrite changed; in the graph's order.

    A stream is seen where the shapes of its neighbours are known. Other layers, which compute what they did, aren't
    mentioned; those that can't be refitted are, with the reason.
    """
    sources = {(operand.node, operand.input): operand.axes for operand in trace.operands}
    changed = {node for node, _ in sources}
    cut = {edge.node for edge in trace.edges.values()}  # read less of a tensor that is what it was
    order = {node: index for index, node in enumerate(model.graph)}
    affected: set[ir.Value] = set()
    within: set[ir.Node] = set()  # in the tail of a layer
    found: list[Layer] = []
    left: Left = {}
    for node, index in order.items():
        reads = [value for value in (*node.inputs, *captured_by(node)) if value is not None]
        if called(node) in changed | cut or not affected.isdisjoint(reads):
            affected.update(node.outputs)
        if node in within or not _has_weight(node):
            continue
        kept = sources.get((called(node), 1), {}).get(_made(node))
        why = _unfit(node) or _repeats(kept)
        tail = None if why else _tail(node, order)
        if tail is not None:
            within.update(_nodes(node, tail))
        sees = reads if tail is None else [value for value in (node.inputs[0], tail.stream) if value is not None]
        if affected.isdisjoint(sees) and called(node) not in cut:
            continue
        if tail is None:
            left[_name(node)] = why
        else:
            found.append(Layer(node, index, tail, kept))
    return found, left


def _name(node: ir.Node) -> str:
    weight = node.inputs[1]
    named = weight is not None and weight.is_initializer()
    return (weight.name if named and weight is not None else None) or called(node)


def _has_weight(node: ir.Node) -> bool:
    """Whether a node is a layer, or a norm with a scale."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    if has(node, Trait.NORM):
        weight = weight_of(node, 1)
        return weight is not None and not weight.statistic
    return has(node, Trait.CONVOLUTION, Trait.LINEAR) and any(
        content(value) is not None or (value.producer() is not None and is_op(value.producer(), "DequantizeLinear"))
        for value in node.inputs[:2] if value is not None
    )  # fmt: skip


def _unfit(node: ir.Node) -> str:
    """Why a layer can't be refitted; '' where it can."""
    weight = node.inputs[1]
    assert weight is not None
    shape = constant_shape(weight)
    if not is_op(node, *KERNELS, *PRODUCTS) and not has(node, Trait.NORM):
        return f"{node.op_type} is not refitted"
    if not weight.is_initializer() or weight.dtype not in FLOATS:
        return "its weight is no constant in float32 or float64"
    if len(weight.uses()) > 1 and not has(node, Trait.NORM):
        return "its weight is shared"
    factors = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    turned = node.attributes.get_int("transA", 0) != 0
    if is_op(node, *PRODUCTS) and (len(shape) != 2 or factors != [1.0, 1.0] or turned):
        return "it is no plain product of rows with a matrix"
    if is_op(node, "ConvTranspose") and (
        node.attributes.get_int("group", 1) > 1 or {"auto_pad", "output_shape"} & node.attributes.keys()
    ):
        return "it is a transposed convolution in groups, or of a given size"
    if is_op(node, "Conv", "ConvTranspose", "Gemm") and _bias(node, shape[_made(node)]) is None:
        return "its bias is no constant of one number a channel"
    if has(node, Trait.NORM) and (len(shape) != 1 or affine_norm(node) is None):
        return "its scale and shift are no constants, one a channel"
    return ""


def affine_norm(node: ir.Node) -> tuple[Array, Array] | None:
    """Scale and shift of a norm, [C] both (of one that has no shift it is 0); None where they aren't constant."""
    scale = float64(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    shift = np.zeros(1) if given is None else float64(given)
    if scale is None or shift is None or (is_op(node, "BatchNormalization") and affine(node) is None):
        return None
    return scale, np.broadcast_to(shift, scale.shape)


def _repeats(kept: Array | None) -> str:
    """Why a layer with these channels of the original can't be refitted; '' where it can."""
    again = kept is not None and (np.unique(kept).size < kept.size or (kept < 0).any())
    return "its channels are repeated" if again else ""


def _made(node: ir.Node) -> int:
    """The axis of a layer's weight along which it makes channels."""
    weight = weight_of(node, 1)
    value = node.inputs[1]
    if weight is None or value is None:
        return 0
    return next(iter(weight.makes(node.attributes, len(constant_shape(value)))), 0)


def _tail(node: ir.Node, order: Mapping[ir.Node, int]) -> Tail:
    """The tail of a layer that can be refitted; a norm's is itself."""
    weight, output = node.inputs[1], node.outputs[0]
    assert weight is not None
    shape = constant_shape(weight)
    count = shape[_made(node)]
    tail = Tail(output, np.ones(count), np.zeros(count))
    if has(node, Trait.NORM):
        slot = weight_of(node, 2)
        if slot is not None and not slot.statistic and len(node.inputs) > 2 and node.inputs[2] is not None:
            tail.places.append(Place(node, 2, np.ones(count)))
        return tail
    bias = _bias(node, count)
    if bias is not None and not is_op(node, "MatMul"):
        tail.shift = bias
        tail.places.append(Place(node, 2, np.ones(count)))
    _follow(tail, order, order[node], len(shape) if is_op(node, *KERNELS) else 0)
    return tail


def _bias(node: ir.Node, count: int) -> Array | None:
    """What a layer itself adds to each channel, [count]; None where that is no constant of one number a channel."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    array = content(given)
    if given is None:
        return np.zeros(count)
    return None if array is None else _by_channel(array, count, 0)


def _follow(tail: Tail, order: Mapping[ir.Node, int], index: int, rank: int) -> None:
    """Go on as long as channels stay alone, and through one Add of a tensor that is there before the layer runs.

    `rank` is as in `_by_channel`.
    """
    while tail.stream is None:
        user = only_use(tail.end)
        if user is None or user not in order:
            return
        if is_op(user, "BatchNormalization") and user.inputs[0] is tail.end and _normed(tail, user):
            tail.end = user.outputs[0]
            continue
        if not is_op(user, "Add", "Mul") or None in user.inputs:
            return
        where = 1 if user.inputs[0] is tail.end else 0
        other = user.inputs[where]
        assert other is not None
        array = content(other)
        if array is None:
            maker = other.producer()
            late = maker is not None and order.get(maker, index) >= index
            if is_op(user, "Mul") or late or not _alike(tail.end, user.outputs[0]):
                return
            tail.stream = other
        elif (vector := _by_channel(array, tail.scale.size, rank)) is None:
            return
        elif is_op(user, "Mul"):
            tail.times(vector)
        else:
            tail.shift = tail.shift + vector
            if array.size == tail.scale.size:
                tail.places.append(Place(user, where, np.ones(tail.scale.size)))
        tail.end = user.outputs[0]


def _alike(one: ir.Value, two: ir.Value) -> bool:
    """Whether two tensors are known to be of one shape: none is spread over the other."""
    return one.shape is not None and two.shape is not None and one.shape.dims == two.shape.dims


def _normed(tail: Tail, norm: ir.Node) -> bool:
    """Whether a BatchNorm belongs to the tail, which then has it."""
    found = affine(norm)
    if found is None or norm.inputs[1] is None or norm.inputs[1].dtype not in FLOATS:
        return False
    a, b = found
    tail.times(a)
    tail.shift = tail.shift + b
    maker = tail.end.producer()
    tail.norm = norm if maker is not None and is_op(maker, *KERNELS, *PRODUCTS) else None
    tail.places.append(Place(norm, 2, np.ones(a.size)))
    return True


def _by_channel(array: Array, count: int, rank: int) -> Array | None:
    """A constant as float64, [count], if it has one number a channel, or one for all; else None.

    Channels are on axis 1 of a tensor of that rank, on the last axis where it is 0.
    """
    if array.dtype not in (np.float32, np.float64) or (rank and array.ndim > rank):
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    axis = 1 if rank else len(shape) - 1
    if any(size != 1 for k, size in enumerate(shape) if k != axis) or array.size not in (1, count):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (count,))


def _nodes(node: ir.Node, tail: Tail) -> Iterator[ir.Node]:
    """The nodes of a tail behind its layer."""
    value = node.outputs[0]
    while value is not tail.end:
        node = next(iter(value.uses())).node
        value = node.outputs[0]
        yield node
