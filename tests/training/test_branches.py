from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

pytest.importorskip("torch")

import torch

from chanc.tasks import Classification
from chanc.testing.blocks import squeeze_excite
from chanc.testing.graphs import Graph, Tensor
from chanc.training.branches import branches
from chanc.training.distributed import with_shared_norms
from chanc.training.module import trainable

Block = Callable[[Tensor], Tensor]


def model(*blocks: Block) -> ir.Model:
    """A stem of 8 channels, the blocks, a classifier."""
    x = Graph().input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8).bn().relu()
    for block in blocks:
        x = block(x)
    return x.graph.ir(x.relu().mean(*range(2, x.rank), keep=False).gemm(4))


def ends(*blocks: Block, concats: bool = False) -> list[str]:
    """The operators of the layers found, in order: BatchNorm2d of the second block is `BatchNorm2d`."""
    net = trainable(model(*blocks), Classification())
    found = branches(net.built, net.graph.graph, concats=concats)
    return [type(net.module.get_submodule(path)).__name__ for path in found]


def cell(x: Tensor) -> Tensor:
    """DARTS: two convolutions, then one beside an identity and one beside a pooling; the concat of the nodes."""
    first, second = x.conv(8, 1).bn(), x.relu().conv(8, 1)
    node = first.relu().conv(8).bn() + second.relu().conv(8).bn()
    beside = node.relu().conv(8).bn() + first
    pooled = beside.relu().conv(8).bn() + second.pool("MaxPool", 3, 1, pads=[1, 1, 1, 1])
    return node.concat(beside, pooled)


NORM, CONV = "BatchNorm2d", "Conv2d"


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (cell, [NORM] * 4),
        (lambda x: x + x.relu().conv(8), [CONV]),
        (lambda x: (x + x.conv(8).bn()).relu(), [NORM]),
        (lambda x: x + x.conv(8) * x.graph.vector(8, shape=(8, 1, 1)), [CONV]),
        (lambda x: x + x.conv(8).transpose(0, 2, 3, 1).transpose(0, 3, 1, 2).relu(), [CONV]),
        (lambda x: x + x.conv(8).bn() + x.conv(8, 1), [NORM, CONV]),
        (lambda x: x.op("Sum", x.conv(8), x.conv(8, 1)), [CONV, CONV]),
        (lambda x: (t := x.reshape(-1, 8, 64)) + t.relu().linear(64), ["Linear"]),
    ],
    ids=["cell", "conv", "norm", "scaled", "turned", "sum of sums", "Sum", "linear"],
)
def test_layers_that_end_branches(block: Block, found: list[str]) -> None:
    assert ends(block) == found


@pytest.mark.parametrize(
    "block",
    [
        lambda x: x + x.pool("AveragePool", 3, 1, pads=[1, 1, 1, 1]),
        lambda x: x + x.conv(8).sigmoid(),
        lambda x: x + squeeze_excite(x.conv(8), 4),
        lambda x: x + (y := x.conv(8)) + y.relu(),
        lambda x: x + x.gap().conv(8, 1),
        lambda x: x + x.graph.vector(8, shape=(8, 1, 1)),
        lambda x: x.conv(8) * x.graph.vector(8, shape=(8, 1, 1)) + x.graph.vector(8, shape=(8, 1, 1)),
        lambda x: x.concat(x.conv(4)),
    ],
    ids=["pooling", "curved", "gated", "read twice", "broadcast", "weight", "affine", "concat"],
)
def test_what_is_no_branch(block: Block) -> None:
    assert ends(block) == []


def test_concats_by_which_something_passes() -> None:
    """As in DenseNet; the halves of a reduction and the branches of GoogLeNet are read by the Concat alone."""
    assert ends(lambda x: x.concat(x.relu().conv(4)), concats=True) == [CONV]
    assert ends(lambda x: x.conv(4).concat(x.conv(4)), concats=True) == []


def test_a_layer_that_is_called_twice_is_none() -> None:
    def twice(x: Tensor) -> Tensor:
        weight = x.graph.weight(8, 8, 1, 1)
        x = x + x.op("Conv", weight)
        return x + x.op("Conv", weight)

    assert ends(twice) == []


def test_norms_shared_among_processes_end_branches_too() -> None:
    net = trainable(model(cell), Classification())
    before = branches(net.built, net.graph.graph)
    with_shared_norms(net.module, torch.device("cpu"))
    assert branches(net.built, net.graph.graph) == before
    assert len(before) == 4
