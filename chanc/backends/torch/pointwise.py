"""A guard against oneDNN's strided pointwise convolutions of few channels, whose gradients break on a CPU.

On a CPU with channels-last inputs, the gradient of the weights of a 1x1 convolution with a stride and fewer than 16
input channels is written past its workspace by oneDNN (its issue 6035; seen with torch 2.13, AVX-512 and two
threads): wrong gradients, a hang or a crash. Taking every s-th pixel first is the same function.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SAFE_CHANNELS = 16
"""Input channels of the widest block of oneDNN's kernels: from so many on the workspace is large enough."""


class Subsampled(nn.Conv2d):
    """A strided pointwise convolution that takes its pixels first, where that is needed; else as `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """input: [N, C, H, W] or [C, H, W]."""
        if input.device.type != "cpu" or self.weight.shape[1] >= SAFE_CHANNELS:
            return super().forward(input)
        down, right = self.stride
        return F.conv2d(input[..., ::down, ::right], self.weight, self.bias, groups=self.groups)


def guard(module: nn.Module) -> None:
    """Make every strided pointwise convolution of a network safe on a CPU, in place: names and weights stay."""
    for layer in module.modules():
        if type(layer) is not nn.Conv2d or layer.kernel_size != (1, 1) or any(layer.padding):
            continue
        if max(layer.stride) > 1:
            layer.__class__ = Subsampled
