"""GoogLeNet with BatchNorm (Szegedy et al. 2015): inception modules, four branches side by side.

As in most public implementations the third branch is a 3x3 convolution and there are no auxiliary classifiers. For
small images the poolings around the stem are left out, so that 32x32 ends at 4x4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chanc.frontends.zoo.layers import ConvBN, PooledFeatures

_STEM = {"conv1": 64, "conv2": 64, "conv3": 192}
_PARTS = ("branch1", "reduce2", "branch2", "reduce3", "branch3", "branch4")
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_POOLED_BEFORE = ("4a", "5a")


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `conv1` to `conv3` of the stem, and `inceptionM.PART` a convolution of a module."""
    widths = dict(_STEM)
    for module, sizes in _MODULES.items():
        widths |= {f"inception{module}.{part}": size for part, size in zip(_PARTS, sizes, strict=True)}
    return widths


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A GoogLeNet with these widths."""
    return GoogLeNet(widths, classes, channels)


class Inception(nn.Module):
    """1x1; 1x1 and 3x3; 1x1 and 3x3; pooling and 1x1: [N, inputs, H, W] -> [N, sum of the branches, H, W]."""

    def __init__(self, inputs: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.branch1 = ConvBN(inputs, sizes["branch1"], 1)
        self.branch2 = nn.Sequential(
            ConvBN(inputs, sizes["reduce2"], 1), ConvBN(sizes["reduce2"], sizes["branch2"], 3)
        )
        self.branch3 = nn.Sequential(
            ConvBN(inputs, sizes["reduce3"], 1), ConvBN(sizes["reduce3"], sizes["branch3"], 3)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvBN(inputs, sizes["branch4"], 1))
        self.outputs = sum(sizes[f"branch{index}"] for index in range(1, 5))

    def forward(self, x: Tensor) -> Tensor:
        """The four branches, concatenated."""
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)


class GoogLeNet(nn.Module):
    """Stem of three convolutions, nine inception modules, global average pooling, a linear classifier."""

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, widths["conv1"], 7, 2)
        self.conv2 = ConvBN(widths["conv1"], widths["conv2"], 1)
        self.conv3 = ConvBN(widths["conv2"], widths["conv3"], 3)
        self.inceptions = nn.ModuleDict()
        inputs = widths["conv3"]
        for name in _MODULES:
            if name in _POOLED_BEFORE:
                self.inceptions[f"pool{name}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            module = Inception(inputs, {part: widths[f"inception{name}.{part}"] for part in _PARTS})
            self.inceptions[f"inception{name}"] = module
            inputs = module.outputs
        self.pool = PooledFeatures()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        x = self.conv3(self.conv2(self.conv1(x)))
        for module in self.inceptions.values():
            x = module(x)
        logits: Tensor = self.fc(self.pool(x))
        return logits
