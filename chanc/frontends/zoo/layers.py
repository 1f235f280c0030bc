"""Pieces that the zoo's families share: convolution with BatchNorm, squeeze-and-excite, the classifier's pooling."""

from __future__ import annotations

from torch import Tensor, nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """A square convolution, W: [outputs, inputs / groups, kernel, kernel], padded so that stride 1 keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


class ConvBN(nn.Module):
    """Convolution, BatchNorm and an activation (none where `activation` is None).

    `forward`: [N, inputs, H, W] -> [N, outputs, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, kernel, stride, groups=groups)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = activation() if activation is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate in [0, 1] computed from the global averages (Hu et al. 2018).

    `forward`: [N, channels, H, W] -> the same; `squeeze` is the width between the two 1x1 convolutions.
    """

    def __init__(self, channels: int, squeeze: int, activation: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.act = activation()
        self.fc2 = nn.Conv2d(squeeze, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """Gate every channel of `x`."""
        gates: Tensor = self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))
        return x * gates


class PooledFeatures(nn.Module):
    """Global average pooling: [N, C, H, W] -> [N, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Average over the positions and drop the two spatial axes."""
        y: Tensor = self.pool(x)
        return y.flatten(1)
