"""ResNet (He et al. 2016).

`resnet18` and the like are the forms for 32x32 images, with a 3x3 stem of stride 1 and no max-pooling;
`resnet18-imagenet` and the like are the published ones: a 7x7 stem of stride 2, and a max-pooling.

A residual stream is one width: every block of a stage writes to it. The stem writes to the first stage's stream where
that stage has no projection (the basic blocks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from chanc.frontends.zoo.layers import PooledFeatures, conv

_BASE = (64, 128, 256, 512)


@dataclass(frozen=True)
class _Variant:
    blocks: tuple[int, int, int, int]
    bottleneck: bool
    imagenet: bool = False


_SMALL = {
    "resnet18": _Variant((2, 2, 2, 2), False),
    "resnet34": _Variant((3, 4, 6, 3), False),
    "resnet50": _Variant((3, 4, 6, 3), True),
}
_VARIANTS = _SMALL | {f"{name}-imagenet": replace(variant, imagenet=True) for name, variant in _SMALL.items()}


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stemN`, `streamN` a stage, `layerN.B.inner` (and `.inner2`) a block."""
    variant = _VARIANTS[name]
    widths = {"stem": 64} if variant.bottleneck else {}
    for stage, base in enumerate(_BASE, 1):
        widths[f"stream{stage}"] = base * 4 if variant.bottleneck else base
        for block in range(variant.blocks[stage - 1]):
            widths[f"layer{stage}.{block}.inner"] = base
            if variant.bottleneck:
                widths[f"layer{stage}.{block}.inner2"] = base
    return widths


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A ResNet with these widths."""
    return ResNet(_VARIANTS[name], widths, classes, channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected by a 1x1 convolution where `project`."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = conv(inputs, inner, 3, stride)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(inputs, outputs, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        out: Tensor = self.relu(y)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions and a shortcut."""

    def __init__(self, inputs: int, inner: int, inner2: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = conv(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner2, 3, stride)
        self.bn2 = nn.BatchNorm2d(inner2)
        self.conv3 = conv(inner2, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(inputs, outputs, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y)) + self.shortcut(x)
        out: Tensor = self.relu(y)
        return out


def _shortcut(inputs: int, outputs: int, stride: int, project: bool) -> nn.Module:
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if project else nn.Identity()


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, global average pooling, a linear classifier."""

    def __init__(self, variant: _Variant, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        inputs = widths["stem"] if variant.bottleneck else widths["stream1"]
        self.conv1 = conv(channels, inputs, 7, 2) if variant.imagenet else conv(channels, inputs, 3)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if variant.imagenet else nn.Identity()
        stages: list[nn.Module] = []
        for stage, count in enumerate(variant.blocks, 1):
            stages.append(_stage(stage, count, variant.bottleneck, widths, inputs))
            inputs = widths[f"stream{stage}"]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.pool = PooledFeatures()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.pool(x))
        return logits


def _stage(stage: int, count: int, bottleneck: bool, widths: Mapping[str, int], inputs: int) -> nn.Module:
    # Where a projection stands follows from the published table, never from the chosen widths, so that the
    # structure and its groups are the same at every width.
    outputs = widths[f"stream{stage}"]
    blocks: list[nn.Module] = []
    for block in range(count):
        stride = 2 if stage > 1 and block == 0 else 1
        project = block == 0 and (stage > 1 or bottleneck)
        inner = widths[f"layer{stage}.{block}.inner"]
        if bottleneck:
            inner2 = widths[f"layer{stage}.{block}.inner2"]
            blocks.append(Bottleneck(inputs, inner, inner2, outputs, stride, project))
        else:
            blocks.append(BasicBlock(inputs, inner, outputs, stride, project))
        inputs = outputs
    return nn.Sequential(*blocks)
