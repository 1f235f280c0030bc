"""MobileNetV2 (Sandler et al. 2018): inverted residuals.

`mobilenetv2` is the form for 32x32 images, without the strides of stem and second stage; `mobilenetv2-imagenet` is the
published one for 224x224.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from chanc.frontends.zoo.layers import ConvBN, PooledFeatures


@dataclass(frozen=True)
class _Stage:
    expansion: int
    width: int
    blocks: int
    stride: int


_STAGES = (
    _Stage(1, 16, 1, 1),
    _Stage(6, 24, 2, 1),
    _Stage(6, 32, 3, 2),
    _Stage(6, 64, 4, 2),
    _Stage(6, 96, 3, 1),
    _Stage(6, 160, 3, 2),
    _Stage(6, 320, 1, 1),
)
_EARLY = 2
"""The stage whose stride the form for small images leaves out."""


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `streamS` a stage, `stageS.B.hidden` an expanded block, `head`."""
    widths = {"stem": 32}
    inputs = 32
    for index, stage in enumerate(_STAGES, 1):
        widths[f"stream{index}"] = stage.width
        for block in range(stage.blocks):
            if stage.expansion > 1:
                widths[f"stage{index}.{block}.hidden"] = inputs * stage.expansion
            inputs = stage.width
    return widths | {"head": 1280}


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A MobileNetV2 with these widths."""
    return MobileNetV2(widths, classes, channels, early_stride=2 if name == "mobilenetv2-imagenet" else 1)


class InvertedResidual(nn.Module):
    """1x1 expansion (none where `hidden` is None), depthwise 3x3, 1x1 projection, and an identity where `residual`.

    `forward`: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride].
    """

    def __init__(self, inputs: int, hidden: int | None, outputs: int, stride: int, residual: bool) -> None:
        super().__init__()
        inner = inputs if hidden is None else hidden
        self.expand = nn.Identity() if hidden is None else ConvBN(inputs, hidden, 1, activation=nn.ReLU6)
        self.depthwise = ConvBN(inner, inner, 3, stride, groups=inner, activation=nn.ReLU6)
        self.project = ConvBN(inner, outputs, 1, activation=None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """The projection is linear: no activation follows it or the sum."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, a 1x1 head, global average pooling, a linear classifier.

    early_stride: of the stem and of the second stage.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int, early_stride: int) -> None:
        super().__init__()
        inputs = widths["stem"]
        self.stem = ConvBN(channels, inputs, 3, early_stride, activation=nn.ReLU6)
        blocks: list[nn.Module] = []
        for index, stage in enumerate(_STAGES, 1):
            outputs = widths[f"stream{index}"]
            for block in range(stage.blocks):
                hidden = widths.get(f"stage{index}.{block}.hidden")
                stride = (early_stride if index == _EARLY else stage.stride) if block == 0 else 1
                blocks.append(InvertedResidual(inputs, hidden, outputs, stride, residual=block > 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvBN(inputs, widths["head"], 1, activation=nn.ReLU6)
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(widths["head"], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        logits: Tensor = self.classifier(self.pool(self.head(self.blocks(self.stem(x)))))
        return logits
