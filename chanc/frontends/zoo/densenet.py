"""DenseNet-BC for 32x32 images (Huang et al. 2017): bottlenecks of 4 times the growth, compression a half.

    zoo:densenet-bc                           DenseNet-BC-100-12: three blocks of 16 layers, growth 12
    zoo:cnas-densenet[:layers=19,growth=12]   CNAS's: three blocks of 19 layers

CNAS's paper gives the latter 0.8 M params at growth 12 and 4.6 M at 28. Nineteen such layers have 1,020,550 and
5,441,390; 0.8 M are what Huang et al. give DenseNet-BC-100-12, whose sixteen have 769,162 (4,100,330 at 28):
`layers=16`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chanc.frontends.zoo.forms import form
from chanc.frontends.zoo.layers import PooledFeatures, conv

_BLOCKS = 3
_LAYERS = {"densenet-bc": 16, "cnas-densenet": 19}


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `blockB.L.bottleneck` and `blockB.L.growth` a layer, `transitionB`."""
    numbers = _numbers(name)
    layers, growth = numbers["layers"], numbers["growth"]
    features = 2 * growth
    widths = {"stem": features}
    for block in range(1, _BLOCKS + 1):
        for layer in range(layers):
            widths[f"block{block}.{layer}.bottleneck"] = 4 * growth
            widths[f"block{block}.{layer}.growth"] = growth
        features += layers * growth
        if block < _BLOCKS:
            features //= 2
            widths[f"transition{block}"] = features
    return widths


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A DenseNet-BC with these widths."""
    return DenseNet(_numbers(name)["layers"], widths, classes, channels)


def _numbers(name: str) -> dict[str, int]:
    return form(name, {"layers": _LAYERS[name.partition(":")[0]], "growth": 12})


class DenseLayer(nn.Module):
    """Bottleneck and 3x3 convolution whose output is put beside the input: [N, C, H, W] -> [N, C + growth, H, W]."""

    def __init__(self, inputs: int, bottleneck: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, bottleneck, 1)
        self.bn2 = nn.BatchNorm2d(bottleneck)
        self.conv2 = conv(bottleneck, growth, 3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The input and the new features."""
        y = self.conv1(self.relu(self.bn1(x)))
        y = self.conv2(self.relu(self.bn2(y)))
        return torch.cat((x, y), dim=1)


class Transition(nn.Module):
    """BatchNorm, ReLU, 1x1 convolution, 2x2 average pooling: [N, inputs, H, W] -> [N, outputs, H / 2, W / 2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.conv = conv(inputs, outputs, 1)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Compress and halve the size."""
        y: Tensor = self.pool(self.conv(self.relu(self.bn(x))))
        return y


class DenseNet(nn.Module):
    """Stem, three dense blocks with transitions between, BatchNorm and ReLU, pooling, a linear classifier."""

    def __init__(self, count: int, widths: Mapping[str, int], classes: int, channels: int) -> None:
        """count: layers of a block."""
        super().__init__()
        features = widths["stem"]
        self.stem = conv(channels, features, 3)
        self.blocks = nn.ModuleDict()
        for block in range(1, _BLOCKS + 1):
            layers: list[nn.Module] = []
            for layer in range(count):
                growth = widths[f"block{block}.{layer}.growth"]
                layers.append(DenseLayer(features, widths[f"block{block}.{layer}.bottleneck"], growth))
                features += growth
            self.blocks[f"block{block}"] = nn.Sequential(*layers)
            if block < _BLOCKS:
                self.blocks[f"transition{block}"] = Transition(features, widths[f"transition{block}"])
                features = widths[f"transition{block}"]
        self.bn = nn.BatchNorm2d(features)
        self.relu = nn.ReLU()
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        x = self.stem(x)
        for part in self.blocks.values():
            x = part(x)
        logits: Tensor = self.classifier(self.pool(self.relu(self.bn(x))))
        return logits
