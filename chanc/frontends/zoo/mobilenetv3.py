"""MobileNetV3-Large (Howard et al. 2019): inverted residuals with squeeze-and-excite and hard-swish.

For small images the stem has stride 1, so that 32x32 ends at 2x2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from chanc.frontends.zoo.layers import ConvBN, PooledFeatures, SqueezeExcite


@dataclass(frozen=True)
class _Block:
    stream: int
    kernel: int
    hidden: int
    squeeze: int
    hard_swish: bool
    stride: int


_STREAMS = (16, 24, 40, 80, 112, 160)
_BLOCKS = (
    _Block(1, 3, 16, 0, False, 1),
    _Block(2, 3, 64, 0, False, 2),
    _Block(2, 3, 72, 0, False, 1),
    _Block(3, 5, 72, 24, False, 2),
    _Block(3, 5, 120, 32, False, 1),
    _Block(3, 5, 120, 32, False, 1),
    _Block(4, 3, 240, 0, True, 2),
    _Block(4, 3, 200, 0, True, 1),
    _Block(4, 3, 184, 0, True, 1),
    _Block(4, 3, 184, 0, True, 1),
    _Block(5, 3, 480, 120, True, 1),
    _Block(5, 3, 672, 168, True, 1),
    _Block(6, 5, 672, 168, True, 2),
    _Block(6, 5, 960, 240, True, 1),
    _Block(6, 5, 960, 240, True, 1),
)


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `streamS`, `blocks.I.hidden` and `blocks.I.squeeze` a block, `head`, `classifier`.

    The stem and the first block, which has no expansion, write to `stream1`.
    """
    widths = {f"stream{index}": width for index, width in enumerate(_STREAMS, 1)}
    for index, block in enumerate(_BLOCKS):
        if index:
            widths[f"blocks.{index}.hidden"] = block.hidden
        if block.squeeze:
            widths[f"blocks.{index}.squeeze"] = block.squeeze
    return widths | {"head": 960, "classifier": 1280}


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A MobileNetV3-Large with these widths."""
    return MobileNetV3(widths, classes, channels)


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, block: _Block, widths: Mapping[str, int], index: int, residual: bool) -> None:
        super().__init__()
        activation = nn.Hardswish if block.hard_swish else nn.ReLU
        hidden = widths.get(f"blocks.{index}.hidden", inputs)
        squeeze = widths.get(f"blocks.{index}.squeeze")
        self.expand = ConvBN(inputs, hidden, 1, activation=activation) if index else nn.Identity()
        self.depthwise = ConvBN(hidden, hidden, block.kernel, block.stride, groups=hidden, activation=activation)
        self.excite = nn.Identity() if squeeze is None else SqueezeExcite(hidden, squeeze, nn.ReLU, nn.Hardsigmoid)
        self.project = ConvBN(hidden, widths[f"stream{block.stream}"], 1, activation=None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """Stem, fifteen blocks, a 1x1 head, global average pooling, a hidden linear layer and the classifier."""

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        stream = 1
        self.stem = ConvBN(channels, widths["stream1"], 3, activation=nn.Hardswish)
        self.blocks = nn.Sequential()
        for index, block in enumerate(_BLOCKS):
            inputs = widths[f"stream{stream}"]
            self.blocks.append(_InvertedResidual(inputs, block, widths, index, residual=block.stream == stream))
            stream = block.stream
        self.head = ConvBN(widths[f"stream{stream}"], widths["head"], 1, activation=nn.Hardswish)
        self.pool = PooledFeatures()
        self.hidden = nn.Linear(widths["head"], widths["classifier"])
        self.act = nn.Hardswish()
        self.classifier = nn.Linear(widths["classifier"], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        features = self.pool(self.head(self.blocks(self.stem(x))))
        logits: Tensor = self.classifier(self.act(self.hidden(features)))
        return logits
