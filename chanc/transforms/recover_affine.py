"""BatchNormalization from the Mul, Add, Sub and Div that some exporters (Keras, frozen norms) write in its place.

A chain of those with one constant a channel computes a x + b behind a convolution. With mean m and variance v

    BN(x) = s (x - m) / sqrt(v + epsilon) + t,  s = a sqrt(v + epsilon),  t = b + a m

The chain doesn't tell m and v. They are those of a norm that is known to make the same a; else they are measured over
calibration data; without any, m is what the chain takes away before it scales, and v is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from chanc.boundary import boundary
from chanc.ops import channels_made
from chanc.transforms._edit import (
    Array,
    Editor,
    batch_norm,
    content,
    float64,
    is_op,
    kernel_of,
    only_use,
    parameter_stem,
    set_type,
)
from chanc.transforms._moments import Feeds, measure
from chanc.transforms.insert_batchnorm import put_between


class KnownNorm(NamedTuple):
    """A BatchNorm that the network had before it was written as arithmetic: vectors [C], and epsilon."""

    scale: Array
    bias: Array
    mean: Array
    variance: Array
    epsilon: Array | float


@boundary("recovering BatchNorm")
def recover_affine(
    model: ir.Model,
    calibration: Sequence[Feeds] = (),
    *,
    known: Sequence[KnownNorm] = (),
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> bool:
    """Turn such chains into norms, in place; says whether there was one.

    calibration: batches of the model's inputs, {input name: array}, or none. known: norms of the network, each for one
    chain. epsilon, momentum: of the new norms; a known one brings its epsilon.

    Transposes between a chain and its convolution are looked through. A chain needs a factor a channel: a mere Add is
    the convolution's bias, and stays. The tensor behind the chain keeps its name.

    Raises ModelError where the model does not run on the batches.
    """
    chains = [chain for node in model.graph if (chain := _chain(node)) is not None]
    moments = measure(model, [chain.value for chain in chains], calibration) if calibration else {}
    editor, left = Editor(model), list(known)
    for chain in chains:
        found, norm = moments.get(chain.value.name or ""), _known(chain, left)
        mean = chain.mean if found is None else found.mean
        variance = np.ones_like(chain.a) if found is None else found.variance
        small = epsilon
        if norm is not None:
            left = [other for other in left if other is not norm]
            variance, small = np.asarray(norm.variance, np.float64), float(norm.epsilon)
            mean = _mean(chain, norm)
        vectors = (chain.a * np.sqrt(variance + small), chain.b + chain.a * mean, mean, variance)
        _replace(editor, chain, vectors, small, momentum)
    return bool(chains)


def _known(chain: _Chain, norms: Sequence[KnownNorm]) -> KnownNorm | None:
    """The first norm that scales as the chain does; of several, one that moves as it does, too."""
    alike = [norm for norm in norms if norm.scale.shape == chain.a.shape and np.allclose(_factor(norm), chain.a, 1e-4)]
    moved = [norm for norm in alike if np.allclose(_mean(chain, norm), norm.mean, 1e-3, 1e-5)]
    return next(iter([*moved, *alike]), None)


def _factor(norm: KnownNorm) -> Array:
    """s / sqrt(v + epsilon) [C]."""
    factor: Array = norm.scale / np.sqrt(np.asarray(norm.variance, np.float64) + norm.epsilon)
    return factor


def _mean(chain: _Chain, norm: KnownNorm) -> Array:
    """What makes t + a (x - m) the chain, with the norm's own t: its mean, moved by the bias of a convolution."""
    safe = np.where(chain.a == 0, 1.0, chain.a)
    mean: Array = np.where(chain.a == 0, norm.mean, (norm.bias - chain.b) / safe)
    return mean


def _replace(
    editor: Editor, chain: _Chain, vectors: tuple[Array, Array, Array, Array], epsilon: float, momentum: float
) -> None:
    value = chain.value
    node = value.producer()
    assert node is not None
    set_type(node)
    norm = batch_norm(editor, value, f"{parameter_stem(node)}.bn", vectors, epsilon=epsilon, momentum=momentum)
    put_between(editor, value, norm, editor.free(f"{value.name}.bn"))
    for step in chain.steps:
        source, output = step.node.inputs[step.side], step.node.outputs[0]
        assert source is not None
        # The tensor behind the chain is the same as before: its name stays in the graph where nothing hinders it.
        renamed = source is norm.outputs[0] or output.is_graph_output()
        name, output.name = output.name, None
        editor.bypass(step.node, source)
        if renamed:
            source.name = name


@dataclass(frozen=True)
class _Step:
    """An operator of a chain: which of its inputs the running value is, and the constant c [C] or [1]."""

    node: ir.Node
    side: int
    c: Array

    @property
    def scales(self) -> bool:
        return self.node.op_type in ("Mul", "Div")

    def __call__(self, a: Array, b: Array) -> tuple[Array, Array]:
        """(a, b) of a x + b after the operator."""
        if self.node.op_type == "Add":
            return a, b + self.c
        if self.node.op_type == "Sub":
            return (a, b - self.c) if self.side == 0 else (-a, self.c - b)
        factor = self.c if self.node.op_type == "Mul" else 1 / self.c
        return a * factor, b * factor


@dataclass(frozen=True)
class _Chain:
    """What follows a convolution's output `value`: a x + b [C], and `mean`, what is taken away before any factor."""

    value: ir.Value
    steps: tuple[_Step, ...]
    a: Array
    b: Array
    mean: Array


def _chain(node: ir.Node) -> _Chain | None:
    """The longest chain behind a convolution that ends with a vector of its channels; None where nothing scales."""
    kernel = kernel_of(node)
    if kernel is None or content(node.inputs[1]) is None:
        return None
    weight = _weight(node)
    count = channels_made(kernel, node.attributes, weight.shape)
    steps = _steps(node.outputs[0], weight.ndim, count)
    while steps and steps[-1].c.size != count:
        steps.pop()
    if not any(step.scales and step.c.size == count for step in steps):
        return None
    a, b = np.ones(count), np.zeros(count)
    mean = None
    for step in steps:
        if mean is None and (step.scales or (step.side == 1 and step.node.op_type == "Sub")):
            mean = -b
        a, b = step(a, b)
    return _Chain(node.outputs[0], tuple(steps), a, b, b if mean is None else mean)


def _steps(value: ir.Value, rank: int, count: int) -> list[_Step]:
    """Everything behind a value [N, C, ...] that keeps the form a x + b, Transposes left out."""
    steps: list[_Step] = []
    axis = 1
    while (user := only_use(value)) is not None:
        if is_op(user, "Transpose") and "perm" in user.attributes:
            axis = list(user.attributes["perm"].as_ints()).index(axis)
        elif (step := _step(user, value, rank, axis, count)) is not None:
            steps.append(step)
        else:
            break
        value = user.outputs[0]
    return steps


def _step(user: ir.Node, value: ir.Value, rank: int, axis: int, count: int) -> _Step | None:
    if not is_op(user, "Add", "Sub", "Mul", "Div"):
        return None
    side = 0 if user.inputs[0] is value else 1
    c = float64(user.inputs[1 - side])
    if c is None or c.ndim > rank or (user.op_type == "Div" and (side == 1 or not np.all(c))):
        return None
    shape = [1] * (rank - c.ndim) + list(c.shape)
    if any(extent != 1 for k, extent in enumerate(shape) if k != axis) or shape[axis] not in (1, count):
        return None
    return _Step(user, side, c.reshape(-1))


def _weight(node: ir.Node) -> Array:
    weight = content(node.inputs[1])
    assert weight is not None
    return weight
