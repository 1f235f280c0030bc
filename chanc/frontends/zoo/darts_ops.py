"""Operations of a DARTS cell (Liu et al. 2019) and the auxiliary head of its networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chanc.errors import ChancError
from chanc.frontends.zoo.layers import PooledFeatures


class ReluConvBN(nn.Module):
    """ReLU, 1x1 convolution, BatchNorm: [N, inputs, H, W] -> [N, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Activate, convolve, normalise."""
        y: Tensor = self.bn(self.conv(self.relu(x)))
        return y


class FactorizedReduce(nn.Module):
    """Halve the size without a pooling: two 1x1 convolutions of stride 2, the second one pixel off, side by side.

    `forward`: [N, inputs, H, W] -> [N, outputs, H / 2, W / 2], H and W even.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if outputs % 2:
            raise ChancError(f"a width that a FactorizedReduce writes must be even, not {outputs}")
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.conv2 = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Activate, convolve at even and at odd positions, concatenate, normalise."""
        x = self.relu(x)
        y: Tensor = self.bn(torch.cat((self.conv1(x), self.conv2(x[:, :, 1:, 1:])), dim=1))
        return y


class DepthwiseStep(nn.Module):
    """ReLU, depthwise convolution, 1x1 convolution, BatchNorm: half of a separable one, or a dilated one whole."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.relu = nn.ReLU()
        self.depthwise = nn.Conv2d(
            inputs, inputs, kernel, stride, padding=padding, dilation=dilation, groups=inputs, bias=False
        )
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.bn(self.pointwise(self.depthwise(self.relu(x))))
        return y


def operation_named(operation: str, inputs: int, mid: int, outputs: int, stride: int) -> nn.Module:
    """The module of one edge: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride].

    `mid` is the width between the halves of a separable convolution; poolings and identities keep their channels.
    """
    if operation == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if operation == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(inputs, outputs)
    kernel = int(operation[-1])
    if operation.startswith("dil_conv"):
        return DepthwiseStep(inputs, outputs, kernel, stride, dilation=2)
    return nn.Sequential(
        DepthwiseStep(inputs, mid, kernel, stride, dilation=1), DepthwiseStep(mid, outputs, kernel, 1, dilation=1)
    )


class AuxiliaryHead(nn.Module):
    """A second classifier on the features after the second reduction, an aid in training.

    `forward`: [N, inputs, H, W] -> [N, classes], H and W from 8 (a 32x32 image) upwards.
    """

    def __init__(self, inputs: int, widths: Mapping[str, int], classes: int) -> None:
        super().__init__()
        first, second = widths["auxiliary.1"], widths["auxiliary.2"]
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3, padding=0, count_include_pad=False),
            nn.Conv2d(inputs, first, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 2, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
        )
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(second, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features to logits."""
        logits: Tensor = self.classifier(self.pool(self.features(x)))
        return logits
