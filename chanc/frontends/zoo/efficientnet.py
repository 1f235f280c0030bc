"""EfficientNet-B0 (Tan & Le 2019): inverted residuals with squeeze-and-excite and SiLU.

For small images the stem has stride 1, so that 32x32 ends at 2x2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from chanc.frontends.zoo.layers import ConvBN, PooledFeatures, SqueezeExcite


@dataclass(frozen=True)
class _Stage:
    expansion: int
    kernel: int
    stride: int
    width: int
    blocks: int


_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem`, `streamS` a stage, `stageS.B.hidden` and `.squeeze` a block, `head`.

    The squeeze is a quarter of the block's input; the first block has no expansion.
    """
    inputs = 32
    widths = {"stem": inputs}
    for index, stage in enumerate(_STAGES, 1):
        widths[f"stream{index}"] = stage.width
        for block in range(stage.blocks):
            if stage.expansion > 1:
                widths[f"stage{index}.{block}.hidden"] = inputs * stage.expansion
            widths[f"stage{index}.{block}.squeeze"] = inputs // 4
            inputs = stage.width
    return widths | {"head": 1280}


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """An EfficientNet-B0 with these widths."""
    return EfficientNet(widths, classes, channels)


class MBConv(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excite, projection; an identity beside where `residual`.

    `forward`: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]. No expansion where `hidden` is None.
    """

    def __init__(
        self, inputs: int, hidden: int | None, squeeze: int, outputs: int, kernel: int, stride: int, residual: bool
    ) -> None:
        super().__init__()
        inner = inputs if hidden is None else hidden
        self.expand = nn.Identity() if hidden is None else ConvBN(inputs, hidden, 1, activation=nn.SiLU)
        self.depthwise = ConvBN(inner, inner, kernel, stride, groups=inner, activation=nn.SiLU)
        self.excite = SqueezeExcite(inner, squeeze, nn.SiLU, nn.Sigmoid)
        self.project = ConvBN(inner, outputs, 1, activation=None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """The projection is linear: no activation follows it or the sum."""
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class EfficientNet(nn.Module):
    """Stem, seven stages, a 1x1 head, global average pooling, a linear classifier."""

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        inputs = widths["stem"]
        self.stem = ConvBN(channels, inputs, 3, activation=nn.SiLU)
        self.blocks = nn.Sequential()
        for index, stage in enumerate(_STAGES, 1):
            outputs = widths[f"stream{index}"]
            for block in range(stage.blocks):
                name = f"stage{index}.{block}"
                hidden, squeeze = widths.get(f"{name}.hidden"), widths[f"{name}.squeeze"]
                stride = stage.stride if block == 0 else 1
                self.blocks.append(MBConv(inputs, hidden, squeeze, outputs, stage.kernel, stride, residual=block > 0))
                inputs = outputs
        self.head = ConvBN(inputs, widths["head"], 1, activation=nn.SiLU)
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(widths["head"], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        logits: Tensor = self.classifier(self.pool(self.head(self.blocks(self.stem(x)))))
        return logits
