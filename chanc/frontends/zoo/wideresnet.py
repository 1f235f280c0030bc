"""WideResNet-22 (Zagoruyko & Komodakis 2016): pre-activation blocks, three stages of three, k times as wide.

At k = 1 the stem is as wide as the first stage, which then begins with an identity: the two are one width.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from chanc.frontends.zoo.layers import PooledFeatures, conv

_STEM = 16
_FACTORS = {"wrn22": 8, "wrn22-1": 1, "wrn22-2": 2, "wrn22-4": 4}
_STAGES = (1, 2, 3)
_BLOCKS = 3


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `stem` (for k > 1), `streamS` a stage, `stageS.B.inner` a block."""
    factor = _FACTORS[name]
    widths = {"stem": _STEM} if factor > 1 else {}
    for stage in _STAGES:
        base = _STEM * factor * 2 ** (stage - 1)
        widths[f"stream{stage}"] = base
        widths |= {f"stage{stage}.{block}.inner": base for block in range(_BLOCKS)}
    return widths


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A WideResNet with these widths."""
    return WideResNet(widths, classes, channels)


class PreactBlock(nn.Module):
    """BatchNorm, ReLU and 3x3 convolution twice, and a shortcut; `project` makes it a 1x1 convolution.

    `forward`: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride].
    """

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, inner, 3, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, outputs, 3)
        self.relu = nn.ReLU()
        self.shortcut = conv(inputs, outputs, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        """A projection reads the activated input, an identity the bare one."""
        active = self.relu(self.bn1(x))
        y: Tensor = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return y + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """Stem, three stages, BatchNorm and ReLU, global average pooling, a linear classifier."""

    def __init__(self, widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        inputs = widths.get("stem", widths["stream1"])
        self.stem = conv(channels, inputs, 3)
        blocks: list[nn.Module] = []
        for stage in _STAGES:
            outputs = widths[f"stream{stage}"]
            for block in range(_BLOCKS):
                project = block == 0 and (stage > 1 or "stem" in widths)
                stride = 2 if block == 0 and stage > 1 else 1
                blocks.append(PreactBlock(inputs, widths[f"stage{stage}.{block}.inner"], outputs, stride, project))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.pool = PooledFeatures()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] to logits [N, classes]."""
        x = self.relu(self.bn(self.blocks(self.stem(x))))
        logits: Tensor = self.fc(self.pool(x))
        return logits
