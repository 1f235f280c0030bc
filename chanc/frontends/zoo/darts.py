"""Networks of DARTS cells (Liu et al. 2019) with the genotypes of DARTS and of DARTS+ (Liang et al. 2019).

A cell has two inputs, each through a preprocessing layer to a state, and four nodes; a node is the sum of two
operations on earlier states, the cell's output the concat of the nodes. Poolings and identities keep the channels, so
states that they join share one width; each separable convolution has a width of its own between its two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chanc.frontends.zoo.darts_ops import AuxiliaryHead, FactorizedReduce, ReluConvBN, operation_named
from chanc.frontends.zoo.layers import PooledFeatures

Edges = tuple[tuple[str, int], ...]
MakesHead = Callable[[int, Mapping[str, int], int], nn.Module]
"""An auxiliary head from the channels that it reads, all widths, and the number of classes."""


@dataclass(frozen=True)
class Genotype:
    """The operations of the two kinds of cell: (operation, state it reads), two a node, in node order."""

    normal: Edges
    reduce: Edges


DARTS_V2 = Genotype(
    normal=(
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1), ("skip_connect", 0),
        ("skip_connect", 0), ("dil_conv_3x3", 2),
    ),
    reduce=(
        ("max_pool_3x3", 0), ("max_pool_3x3", 1),
        ("skip_connect", 2), ("max_pool_3x3", 1),
        ("max_pool_3x3", 0), ("skip_connect", 2),
        ("skip_connect", 2), ("max_pool_3x3", 1),
    ),
)

DARTS_PLUS_CIFAR100 = Genotype(
    normal=(
        ("skip_connect", 0), ("sep_conv_3x3", 1),
        ("skip_connect", 0), ("sep_conv_5x5", 2),
        ("sep_conv_3x3", 1), ("sep_conv_3x3", 3),
        ("sep_conv_3x3", 2), ("sep_conv_3x3", 4),
    ),
    reduce=(
        ("max_pool_3x3", 0), ("skip_connect", 1),
        ("max_pool_3x3", 0), ("dil_conv_5x5", 2),
        ("max_pool_3x3", 0), ("dil_conv_5x5", 3),
        ("max_pool_3x3", 0), ("skip_connect", 2),
    ),
)


@dataclass(frozen=True)
class Variant:
    """A network's cells: how many of which genotype; stem, base: widths of the stem and of the first cells."""

    genotype: Genotype
    cells: int
    stem: int
    base: int

    @property
    def reductions(self) -> tuple[int, int]:
        """The cells that halve the size and double the width."""
        return self.cells // 3, 2 * self.cells // 3

    def edges(self, cell: int) -> Edges:
        """The operations of a cell."""
        return self.genotype.reduce if cell in self.reductions else self.genotype.normal


# Cells: the stem's width and the cells' before the first reduction. 20 is the network of the DARTS paper; 7 and 14 are
# the baselines of CONet (Hosseini et al. 2021). Both genotypes take the same sizes. What CONet's table calls DARTS+14
# (3.35 and 3.40 M params at 10 and 100 classes) is darts20 by its counts; dartsplus14 has 4.33 M.
_SIZES = {7: (48, 16), 14: (48, 48), 20: (108, 36)}
VARIANTS = {
    f"{prefix}{cells}": Variant(genotype, cells, stem, base)
    for prefix, genotype in (("darts", DARTS_V2), ("dartsplus", DARTS_PLUS_CIFAR100))
    for cells, (stem, base) in _SIZES.items()
}


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `cells.I.stateS` a class of tied states, `cells.I.opJ.mid` a separable convolution."""
    variant = VARIANTS[name]
    widths = {"stem": variant.stem}
    base = variant.base
    for cell in range(variant.cells):
        base *= 2 if cell in variant.reductions else 1
        edges = variant.edges(cell)
        for owner in sorted(set(_owners(edges, cell in variant.reductions))):
            widths[f"cells.{cell}.state{owner}"] = base
        for position, (operation, _) in enumerate(edges):
            if operation.startswith("sep_conv"):
                widths[f"cells.{cell}.op{position}.mid"] = base
    return widths | ({"auxiliary.1": 128, "auxiliary.2": 768} if aux else {})


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A DARTS network with these widths; with `aux` it returns (logits, auxiliary logits).

    Raises ChancError where a width that a FactorizedReduce writes is odd.
    """
    return Darts(VARIANTS[name], widths, classes, channels, AuxiliaryHead if aux else None)


def _owners(edges: Edges, reduction: bool) -> list[int]:
    """For each of the six states of a cell, the first state that shares its width."""
    owners = list(range(2 + len(edges) // 2))
    for position, (operation, source) in enumerate(edges):
        identity = operation == "skip_connect" and not (reduction and source < 2)
        if identity or operation == "max_pool_3x3":
            old, new = sorted((owners[2 + position // 2], owners[source]), reverse=True)
            owners = [new if owner == old else owner for owner in owners]
    return owners


class Cell(nn.Module):
    """One cell: [N, C0, H0, W0] and [N, C1, H, W] -> [N, sum of the nodes' widths, H or H / 2, W or W / 2]."""

    def __init__(
        self,
        name: str,
        edges: Edges,
        widths: Mapping[str, int],
        inputs: tuple[int, int],
        reduction: bool,
        reduction_before: bool,
    ) -> None:
        super().__init__()
        states = [widths[f"{name}.state{owner}"] for owner in _owners(edges, reduction)]
        self.edges = edges
        self.outputs = sum(states[2:])
        self.preprocess0 = (FactorizedReduce if reduction_before else ReluConvBN)(inputs[0], states[0])
        self.preprocess1 = ReluConvBN(inputs[1], states[1])
        self.ops = nn.ModuleList(
            operation_named(
                operation,
                states[source],
                widths.get(f"{name}.op{position}.mid", 0),
                states[2 + position // 2],
                2 if reduction and source < 2 else 1,
            )
            for position, (operation, source) in enumerate(edges)
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """The concat of the nodes, from the outputs of the two cells before."""
        states = [self.preprocess0(before), self.preprocess1(last)]
        values = []
        for position, (_, source) in enumerate(self.edges):
            values.append(self.ops[position](states[source]))
            if position % 2:
                states.append(values[-2] + values[-1])
        return torch.cat(states[2:], dim=1)


class Darts(nn.Module):
    """Stem, cells with two reductions, global average pooling, a linear classifier, and maybe an auxiliary head.

    head: what stands between the last cell and the pooling, nothing here.
    """

    def __init__(
        self,
        variant: Variant,
        widths: Mapping[str, int],
        classes: int,
        channels: int,
        auxiliary: MakesHead | None,
    ) -> None:
        super().__init__()
        stem = widths["stem"]
        self.stem = nn.Sequential(nn.Conv2d(channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        before, last = stem, stem
        reductions = variant.reductions
        self.cells = nn.ModuleList()
        for index in range(variant.cells):
            reduction, reduced = index in reductions, index - 1 in reductions
            cell = Cell(f"cells.{index}", variant.edges(index), widths, (before, last), reduction, reduced)
            self.cells.append(cell)
            before, last = last, cell.outputs
            if index == reductions[1] and auxiliary is not None:
                self.auxiliary = auxiliary(last, widths, classes)
        self.auxiliary_at = reductions[1] if auxiliary is not None else -1
        self.head: nn.Module = nn.Identity()
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images [N, channels, H, W] to logits [N, classes], with the auxiliary head's beside them."""
        before = last = self.stem(x)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            if index == self.auxiliary_at:
                auxiliary = self.auxiliary(last)
        logits: Tensor = self.classifier(self.pool(self.head(last)))
        return logits if auxiliary is None else (logits, auxiliary)
