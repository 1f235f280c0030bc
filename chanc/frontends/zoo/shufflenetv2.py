"""ShuffleNetV2 1.0x for 32x32 images (Ma et al. 2018): split, concat and shuffle; a stem of stride 1, no pooling.

A stage has one width here, as published; through the shuffles its channels could be divided more finely.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chanc.errors import ChancError
from chanc.frontends.zoo.layers import ConvBN, PooledFeatures

_STAGES = ((116, 4), (232, 8), (464, 4))  # width, units


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `streamS` a stage (even), `stageS.U.mid` a unit, `head`."""
    widths = {"stem": 24}
    for stage, (width, units) in enumerate(_STAGES, 1):
        widths[f"stream{stage}"] = width
        widths |= {f"stage{stage}.{unit}.mid": width // 2 for unit in range(units)}
    return widths | {"head": 1024}


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A ShuffleNetV2 with these widths. Raises ChancError where a stage's width is odd."""
    for stage in range(1, len(_STAGES) + 1):
        if widths[f"stream{stage}"] % 2:
            raise ChancError(f"the width stream{stage} of {name} must be even, not {widths[f'stream{stage}']}")
    return ShuffleNetV2(widths, classes, channels)


def shuffle(x: Tensor) -> Tensor:
    """Interleave the two halves of the channels: [N, C, H, W] -> the same shape."""
    batch, channels, height, width = x.shape
    pairs = x.reshape(batch, 2, channels // 2, height, width).transpose(1, 2)
    return pairs.reshape(batch, channels, height, width)


def _branch(inputs: int, mid: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBN(inputs, mid, 1),
        ConvBN(mid, mid, 3, stride, groups=mid, activation=None),
        ConvBN(mid, outputs, 1),
    )


class SplitUnit(nn.Module):
    """One half of the channels passes by, the other goes through a branch: [N, width, H, W] -> the same shape."""

    def __init__(self, width: int, mid: int) -> None:
        super().__init__()
        self.branch = _branch(width // 2, mid, width // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Split, transform one half, concatenate, shuffle."""
        kept, changed = x.chunk(2, dim=1)
        return shuffle(torch.cat((kept, self.branch(changed)), dim=1))


class DownUnit(nn.Module):
    """Two branches of stride 2, both from all channels: [N, inputs, H, W] -> [N, width, H / 2, W / 2]."""

    def __init__(self, inputs: int, mid: int, width: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(
            ConvBN(inputs, inputs, 3, 2, groups=inputs, activation=None), ConvBN(inputs, width // 2, 1)
        )
        self.branch2 = _branch(inputs, mid, width // 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Both branches, concatenated and shuffled."""
        return shuffle(torch.cat((self.branch1(x), self.branch2(x)), dim=1))


class ShuffleNetV2(nn.Module):
    """Stem, three stages, a 1x1 head, global average pooling, a linear classifier."""

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        inputs = widths["stem"]
        self.stem = ConvBN(channels, inputs, 3)
        self.units = nn.Sequential()
        for stage, (_, units) in enumerate(_STAGES, 1):
            width = widths[f"stream{stage}"]
            for unit in range(units):
                mid = widths[f"stage{stage}.{unit}.mid"]
                self.units.append(SplitUnit(width, mid) if unit else DownUnit(inputs, mid, width))
            inputs = width
        self.head = ConvBN(inputs, widths["head"], 1)
        self.pool = PooledFeatures()
        self.fc = nn.Linear(widths["head"], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        logits: Tensor = self.fc(self.pool(self.head(self.units(self.stem(x)))))
        return logits
