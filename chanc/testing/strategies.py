"""Random valid graphs: a hypothesis strategy, and the same graphs by seed.

    @given(graphs())
    def test(model): ...

A graph grows from one to three inputs by the steps of `chanc.testing.steps`; each takes a live tensor and adds what it
makes. At the end every tensor that nothing reads becomes an output, as it is or through a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from chanc.testing import steps
from chanc.testing.graphs import Graph, Tensor
from chanc.testing.growth import MOST_CHANNELS, WIDTHS, Draws, Growth

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

MOST_PIXELS = 256


@dataclass
class SeededDraws:
    """Choices by a seed."""

    seed: int

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def below(self, count: int) -> int:
        """An integer in 0..count-1."""
        return int(self._rng.integers(count))


@dataclass
class HypothesisDraws:
    """Choices by hypothesis, which shrinks them."""

    draw: DrawFn

    def below(self, count: int) -> int:
        """An integer in 0..count-1."""
        from hypothesis import strategies

        return self.draw(strategies.integers(0, count - 1))


def graph_of_seed(seed: int, nodes: int = 60) -> onnx.ModelProto:
    """The random graph of that seed, with at most about so many nodes."""
    return grow(SeededDraws(seed), nodes)


def graphs(nodes: int = 60) -> SearchStrategy[onnx.ModelProto]:
    """A strategy for random graphs of 5 to about `nodes` nodes."""
    from hypothesis import strategies

    @strategies.composite
    def build(draw: DrawFn) -> onnx.ModelProto:
        return grow(HypothesisDraws(draw), nodes)

    return build()


def grow(draws: Draws, nodes: int) -> onnx.ModelProto:
    """Build a graph from random choices."""
    growth = Growth(draws, Graph(opset=(17, 18, 14, 21)[draws.below(4)], seed=draws.below(1 << 16)), draws.below(3))
    _inputs(growth)
    table = [function for function, weight in steps.STEPS.values() for _ in range(weight)]
    goal = 5 + draws.below(max(nodes - 20, 1))
    for _ in range(4 * nodes):
        if len(growth.graph.nodes) >= goal:
            break
        source = growth.tensor()
        growth.graph.stored = "constant" if growth.chance(8) else "initializer"
        made = growth.pick(table)(growth, source)
        if made is not None and np.prod(made.shape[2:]) <= MOST_PIXELS and 0 < made.channels <= MOST_CHANNELS:
            growth.add(made, source)
    return growth.graph.model(*_outputs(growth))


def _inputs(growth: Growth) -> None:
    """One to three images of the same height and width, with a convolution on most of them."""
    side = growth.pick((8, 12, 16))
    dynamic = ({}, {0: "n"}, {0: "n", 2: "h", 3: "w"})[growth.openness]
    for k in range(1 + growth.chance(4) + growth.chance(6)):
        image = growth.graph.input(f"image{k}", [2, growth.pick((3, 1, 4)), side, side], dynamic=dynamic)
        growth.add(image.conv(growth.pick(WIDTHS)))
        if growth.chance(8):
            growth.live.append(image)


def _outputs(growth: Growth) -> list[Tensor]:
    """What nothing reads, through a head or as it is."""
    outputs = []
    for tensor in list(growth.unread.values()):
        kind = growth.draws.below(6)
        if kind < 2:
            outputs.append(tensor.gap().flatten().gemm(growth.pick((10, 3)), transposed=kind == 0))
        elif kind == 2 and growth.openness < 2:
            outputs.append(tensor.flatten().gemm(7, bias=growth.chance(2)))
        elif kind == 3:
            outputs.append(tensor.mean(2, 3, keep=False).linear(5))
        elif kind == 4:
            outputs.append(tensor.conv(3, 1))
        else:
            outputs.append(tensor)
    return outputs
