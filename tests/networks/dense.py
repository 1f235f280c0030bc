"""An answer for each pixel: segmentation."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Residual, conv, exported, image
from .registry import network

OPEN = {"x": {0: "batch", 2: "height", 3: "width"}}


@network("DeepLab with ASPP", groups=10)
def deeplab() -> onnx.ModelProto:
    class Pooled(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.f = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(a, b, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(self.f(x), size=x.shape[-2:], mode="bilinear", align_corners=False)

    class DeepLab(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.high = nn.Sequential(conv(3, 12, 3, 2), conv(12, 16)), conv(16, 24, 3, 2)
            self.branches = nn.ModuleList(
                [conv(24, 10, 1), conv(24, 10, dilation=2), conv(24, 10, dilation=4), Pooled(24, 10)]
            )
            self.join, self.skip = conv(40, 14, 1), conv(16, 6, 1)
            self.out = nn.Sequential(conv(20, 12), nn.Conv2d(12, 4, 1))

        def forward(self, x: Tensor) -> Tensor:
            low = self.low(x)
            high = self.high(low)
            y = self.join(torch.cat([branch(high) for branch in self.branches], 1))
            y = F.interpolate(y, size=low.shape[-2:], mode="bilinear", align_corners=False)
            y = self.out(torch.cat([y, self.skip(low)], 1))
            return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return exported(DeepLab, image(3, 24, 24), axes=OPEN)


@network("SegFormer", groups=11)
def segformer() -> onnx.ModelProto:
    class Reduced(nn.Module):
        """Keys and values of fewer places."""

        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
            self.fewer, self.norm, self.heads = nn.Conv2d(width, width, 2, 2), nn.LayerNorm(width), heads

        def forward(self, x: Tensor) -> Tensor:
            n, t, c = x.shape
            side = int(t**0.5)
            y = self.fewer(x.transpose(1, 2).reshape(n, c, side, side)).reshape(n, c, -1).transpose(1, 2)
            k, v = self.kv(self.norm(y)).reshape(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
            q = self.q(x).reshape(n, t, self.heads, c // self.heads).transpose(1, 2)
            y = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(-1) @ v
            return self.out(y.transpose(1, 2).reshape(n, t, c))

    class Mixed(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
            self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x).transpose(1, 2)
            side = int(y.shape[2] ** 0.5)
            return self.two(F.gelu(self.deep(y.reshape(*y.shape[:2], side, side)).flatten(2).transpose(1, 2)))

    class Stage(nn.Module):
        def __init__(self, a: int, b: int, stride: int) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(a, b, 3, stride, 1), nn.LayerNorm(b)
            self.f = nn.Sequential(Residual(nn.LayerNorm(b), Reduced(b, 2)), Residual(nn.LayerNorm(b), Mixed(b)))

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            n, c, h, w = y.shape
            return self.f(self.norm(y.flatten(2).transpose(1, 2))).transpose(1, 2).reshape(n, c, h, w)

    class SegFormer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Stage(3, 12, 4), Stage(12, 16, 2)
            self.left = nn.ModuleList([nn.Conv2d(12, 14, 1), nn.Conv2d(16, 14, 1)])
            self.out = nn.Sequential(conv(28, 14, 1), nn.Conv2d(14, 4, 1))

        def forward(self, x: Tensor) -> Tensor:
            one = self.one(x)
            two = F.interpolate(self.left[1](self.two(one)), size=one.shape[-2:], mode="bilinear")
            return self.out(torch.cat([two, self.left[0](one)], 1))

    return exported(SegFormer, image(3, 32, 32))


@network("BiSeNet", groups=9)
def bisenet() -> onnx.ModelProto:
    class Refine(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.f, self.gate = (
                conv(a, b),
                nn.Sequential(nn.Conv2d(b, b, 1, bias=False), nn.BatchNorm2d(b), nn.Sigmoid()),
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.f(x)
            return y * self.gate(y.mean((2, 3), keepdim=True))

    class BiSeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detail = nn.Sequential(conv(3, 10, 7, 2), conv(10, 12, 3, 2))
            self.stem, self.deep = nn.Sequential(conv(3, 8, 3, 2), conv(8, 12, 3, 2)), conv(12, 16, 3, 2)
            self.refine, self.whole = Refine(16, 12), conv(16, 12, 1)
            self.join, self.inner = (
                conv(24, 16, 1),
                nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.Sigmoid()),
            )
            self.out = nn.Sequential(conv(16, 12), nn.Conv2d(12, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            deep = self.deep(self.stem(x))
            whole = self.whole(deep.mean((2, 3), keepdim=True))
            context = F.interpolate(self.refine(deep) + whole, scale_factor=2.0)
            y = self.join(torch.cat([self.detail(x), context], 1))
            return F.interpolate(self.out(y + y * self.inner(y.mean((2, 3), keepdim=True))), scale_factor=4.0)

    return exported(BiSeNet, image(3, 32, 32))


class UNet(nn.Module):
    """Down, a middle, and up again, each level joined with its like: by transposed convolutions or pixel shuffles."""

    def __init__(self, middle: nn.Module, shuffles: bool = False) -> None:
        super().__init__()
        self.one, self.two, self.three = self.pair(3, 12), self.pair(12, 16), self.pair(16, 24)
        self.middle = middle
        self.up = nn.ModuleList([self.raised(24, 16, shuffles), self.raised(16, 12, shuffles)])
        self.back, self.out = nn.ModuleList([self.pair(32, 16), self.pair(24, 12)]), nn.Conv2d(12, 2, 1)

    def pair(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(conv(a, b), conv(b, b))

    def raised(self, a: int, b: int, shuffles: bool) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, 4 * b, 1), nn.PixelShuffle(2)) if shuffles else nn.ConvTranspose2d(a, b, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        y = self.up[0](self.middle(self.three(F.max_pool2d(two, 2))))
        y = self.up[1](self.back[0](torch.cat([y, two], 1)))
        return self.out(self.back[1](torch.cat([y, one], 1)))


@network("U-Net", groups=12, day=True)
def unet() -> onnx.ModelProto:
    return exported(lambda: UNet(nn.Identity()), image(3, 16, 16), axes=OPEN)


@network("U-Net with pixel shuffles", groups=12)
def unet_shuffles() -> onnx.ModelProto:
    return exported(lambda: UNet(nn.Identity(), shuffles=True), image(3, 16, 16), whole=True)


@network("attention U-Net", groups=13)
def unet_gates() -> onnx.ModelProto:
    class Gated(UNet):
        """What is joined is weighed by the coarser level."""

        def __init__(self) -> None:
            super().__init__(nn.Identity())
            self.a, self.b, self.c = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            one = self.one(x)
            two = self.two(F.max_pool2d(one, 2))
            y = self.up[0](self.three(F.max_pool2d(two, 2)))
            two = two * torch.sigmoid(self.c(torch.relu(self.a(y) + self.b(two))))
            y = self.up[1](self.back[0](torch.cat([y, two], 1)))
            return self.out(self.back[1](torch.cat([y, one], 1)))

    return exported(Gated, image(3, 16, 16))
