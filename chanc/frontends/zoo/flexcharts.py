"""The supernet of FlexCHarts (Yüzügüler, Dimitriadis, Frossard): the network of the DARTS paper, a width a cell.

Every state of a cell and every separable convolution in it have the cell's width. A 1x1 convolution stands before the
pooling, and the auxiliary head has linear layers only.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from chanc.frontends.zoo import darts
from chanc.frontends.zoo.darts_ops import ReluConvBN
from chanc.frontends.zoo.layers import PooledFeatures

_CELLS = "darts20"
_HEAD = 256


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `cells.I` a cell, `head` the 1x1 convolution."""
    widths = {_owner(key): size for key, size in darts.table(_CELLS, aux=aux).items()}
    return widths | {"head": _HEAD}


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """The supernet with these widths; with `aux` it returns (logits, auxiliary logits).

    Raises ChancError where the width of a cell that a FactorizedReduce writes is odd.
    """
    return FlexCharts(widths, classes, channels, aux)


def _owner(key: str) -> str:
    """The width here that a width of DARTS is: `cells.3.op1.mid` -> `cells.3`."""
    return ".".join(key.split(".")[:2])


class FlexCharts(darts.Darts):
    """DARTS's cells between a stem and a 1x1 head, global average pooling, a linear classifier.

    cells: the network of `darts.VARIANTS` that they are of.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int, aux: bool, cells: str = _CELLS) -> None:
        spread = {key: widths[_owner(key)] for key in darts.table(cells, aux=aux)}
        super().__init__(darts.VARIANTS[cells], spread, classes, channels, LinearHead if aux else None)
        self.head = nn.Sequential(ReluConvBN(self.classifier.in_features, widths["head"]), nn.ReLU())
        self.classifier = nn.Linear(widths["head"], classes)


class LinearHead(nn.Module):
    """A second classifier of three linear layers on the averages of the features, an aid in training.

    `forward`: [N, inputs, H, W] -> [N, classes].
    """

    def __init__(self, inputs: int, widths: Mapping[str, int], classes: int) -> None:
        super().__init__()
        first, second = widths["auxiliary.1"], widths["auxiliary.2"]
        self.pool = PooledFeatures()
        self.layers = nn.Sequential(
            nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features to logits."""
        logits: Tensor = self.layers(self.pool(x))
        return logits
