"""The search space of CNAS, a network whose every operation reads all that stands before it in its cell.

A cell has two inputs, each through a 1x1 convolution to F channels (d), and nodes (z). A node is the sum of its
operations; each reads the concat x of d and of all earlier nodes: ReLU, depthwise 3x3, 1x1 convolution, BatchNorm. The
cell's output is the concat of its nodes. Two cells halve the size and double F: there the depthwise convolutions of d
have stride 2, those of z stride 1.

    zoo:cnas                 20 cells, 5 nodes of 2 operations, F = 36, 72 and 144, a stem of 108
    zoo:cnas:cells=3,f=8     any of cells, nodes, ops, f; the stem has 3 F
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chanc.frontends.zoo.darts_ops import FactorizedReduce, ReluConvBN
from chanc.frontends.zoo.forms import form
from chanc.frontends.zoo.layers import PooledFeatures, conv

PUBLISHED = {"cells": 20, "nodes": 5, "ops": 2, "f": 36}
"""What the paper calls N is the nodes and the output: N = 6."""


def reductions(cells: int) -> tuple[int, int]:
    """The cells, from 0, that halve the size."""
    return cells // 3, 2 * cells // 3


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, and of each cell `cells.I.d0` and `.d1`, its inputs, `cells.I.z0` and on, its nodes."""
    numbers = form(name, PUBLISHED)
    widths, base = {"stem": 3 * numbers["f"]}, numbers["f"]
    for cell in range(numbers["cells"]):
        base *= 2 if cell in reductions(numbers["cells"]) else 1
        widths |= {f"cells.{cell}.{state}": base for state in ("d0", "d1", *_nodes(numbers["nodes"]))}
    return widths


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """The network with these widths. Raises ChancError where a width that a FactorizedReduce writes is odd."""
    return Cnas(form(name, PUBLISHED), widths, classes, channels)


def _nodes(count: int) -> list[str]:
    return [f"z{node}" for node in range(count)]


class Operation(nn.Module):
    """Depthwise 3x3, 1x1 convolution, BatchNorm: [N, d, H, W] and [N, z, h, w] -> [N, outputs, h, w].

    At stride 1 (H = h) one depthwise convolution takes both; else those of d have the stride. z may be 0.
    """

    def __init__(self, d: int, z: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = d if stride > 1 else d + z
        self.depthwise = conv(first, first, 3, stride, groups=first)
        self.inner = conv(z, z, 3, groups=z) if stride > 1 and z else None
        self.pointwise = conv(d + z, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, d: Tensor, z: Tensor | None) -> Tensor:
        """Both parts, activated already, to an addend of the node."""
        if self.inner is not None and z is not None:
            x = torch.cat((self.depthwise(d), self.inner(z)), dim=1)
        else:
            x = self.depthwise(d if z is None else torch.cat((d, z), dim=1))
        y: Tensor = self.bn(self.pointwise(x))
        return y


class Node(nn.Module):
    """The sum of operations on the same channels: [N, d, H, W] and [N, z, h, w] -> [N, outputs, h, w]."""

    def __init__(self, ops: int, d: int, z: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.ops = nn.ModuleList(Operation(d, z, outputs, stride) for _ in range(ops))

    def forward(self, d: Tensor, z: Tensor | None) -> Tensor:
        """Add up what the operations make."""
        first, *others = (op(d, z) for op in self.ops)
        y: Tensor = sum(others, first)
        return y


class Cell(nn.Module):
    """One cell: [N, C0, H0, W0] and [N, C1, H, W] -> [N, sum of the nodes' widths, h, w]; h is H or H / 2."""

    def __init__(
        self, widths: Mapping[str, int], ops: int, inputs: tuple[int, int], reduction: bool, reduction_before: bool
    ) -> None:
        """widths: of d0, d1, z0, z1, ...; inputs: channels of the two cells before."""
        super().__init__()
        d = widths["d0"] + widths["d1"]
        nodes = [size for state, size in widths.items() if state.startswith("z")]
        self.preprocess0 = (FactorizedReduce if reduction_before else ReluConvBN)(inputs[0], widths["d0"])
        self.preprocess1 = ReluConvBN(inputs[1], widths["d1"])
        self.nodes = nn.ModuleList(
            Node(ops, d, sum(nodes[:k]), size, 2 if reduction else 1) for k, size in enumerate(nodes)
        )
        self.relu = nn.ReLU()
        self.outputs = sum(nodes)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """The concat of the nodes, from the outputs of the two cells before."""
        d = self.relu(torch.cat((self.preprocess0(before), self.preprocess1(last)), dim=1))
        nodes: list[Tensor] = []
        for node in self.nodes:
            nodes.append(node(d, self.relu(torch.cat(nodes, dim=1)) if nodes else None))
        return torch.cat(nodes, dim=1)


class Cnas(nn.Module):
    """Stem, cells, global average pooling, a linear classifier."""

    def __init__(self, numbers: Mapping[str, int], widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        stem, reducing = widths["stem"], reductions(numbers["cells"])
        self.stem = nn.Sequential(conv(channels, stem, 3), nn.BatchNorm2d(stem))
        before, last = stem, stem
        self.cells = nn.ModuleList()
        for index in range(numbers["cells"]):
            own = {state: widths[f"cells.{index}.{state}"] for state in ("d0", "d1", *_nodes(numbers["nodes"]))}
            cell = Cell(own, numbers["ops"], (before, last), index in reducing, index - 1 in reducing)
            self.cells.append(cell)
            before, last = last, cell.outputs
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(self.pool(last))
        return logits
