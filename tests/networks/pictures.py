"""Pictures out of pictures: sharper ones, depth, flow."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import conv, exported, image
from .registry import network

OPEN = {"x": {0: "batch", 2: "height", 3: "width"}}


@network("EDSR", groups=5)
def edsr() -> onnx.ModelProto:
    class Scaled(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.f = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )

        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * self.f(x)

    class EDSR(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Sequential(Scaled(16), Scaled(16))
            up = [
                nn.Conv2d(16, 64, 3, padding=1),
                nn.PixelShuffle(2),
                nn.Conv2d(16, 64, 3, padding=1),
                nn.PixelShuffle(2),
            ]
            self.tail = nn.Sequential(*up, nn.Conv2d(16, 3, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x - 0.45)
            return self.tail(y + self.body(y)) + 0.45

    return exported(EDSR, image(3, 10, 10), axes=OPEN)


@network("ESPCN", groups=2)
def espcn() -> onnx.ModelProto:
    def make() -> nn.Module:
        parts = [nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 12, 3, padding=1), nn.Tanh()]
        return nn.Sequential(*parts, nn.Conv2d(12, 9, 3, padding=1), nn.PixelShuffle(3))

    return exported(make, image(1, 10, 10), axes=OPEN)


@network("dense blocks that sharpen", groups=8)
def rdn() -> onnx.ModelProto:
    class Block(nn.Module):
        """ESRGAN: all that came before goes into each layer."""

        def __init__(self, width: int, growth: int) -> None:
            super().__init__()
            self.f = nn.ModuleList([nn.Conv2d(width + k * growth, growth, 3, padding=1) for k in range(3)])
            self.out = nn.Conv2d(width + 3 * growth, width, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            every = [x]
            for f in self.f:
                every.append(F.leaky_relu(f(torch.cat(every, 1)), 0.2))
            return x + 0.2 * self.out(torch.cat(every, 1))

    class Raise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")

    def make() -> nn.Module:
        first = nn.Conv2d(12, 16, 3, padding=1)
        tail = [nn.Conv2d(16, 12, 3, padding=1), nn.PReLU(12), nn.Conv2d(12, 3, 3, padding=1)]
        return nn.Sequential(nn.PixelUnshuffle(2), first, Block(16, 8), Block(16, 8), Raise(), *tail)

    return exported(make, image(3, 12, 12))


@network("depth by sizes that are computed", groups=6)
def depth() -> onnx.ModelProto:
    class Depth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([conv(3, 8, 3, 2), conv(8, 12, 3, 2), conv(12, 16, 3, 2)])
            self.up = nn.ModuleList([conv(16, 12, act=nn.ELU), conv(24, 8, act=nn.ELU), conv(16, 6, act=nn.ELU)])
            self.pad, self.out = nn.ReflectionPad2d(1), nn.Conv2d(6, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            found = [x]
            for f in self.down:
                found.append(f(found[-1]))
            y = found[-1]
            for f, other in zip(self.up, (found[2], found[1], None), strict=True):
                size = x.shape[-2:] if other is None else other.shape[-2:]
                y = F.interpolate(f(y), size=size, mode="bilinear", align_corners=True)
                y = y if other is None else torch.cat([y, other], 1)
            return 1 / (0.1 + 10 * torch.sigmoid(self.out(self.pad(y))))

    return exported(Depth, image(3, 24, 24), axes=OPEN)


@network("optical flow by warping", groups=4, share=0.98, stays="folds its channels")
def flow() -> onnx.ModelProto:
    class Flow(nn.Module):
        """Features of two pictures, correlated at nine shifts; the second is warped by the flow, which is refined."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(conv(3, 12, 3, 2), conv(12, 16))
            self.first = nn.Sequential(conv(25, 14), nn.Conv2d(14, 2, 3, padding=1))
            self.second = nn.Sequential(conv(34, 12), nn.Conv2d(12, 2, 3, padding=1))

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            a, b = self.features(x), self.features(z)
            h, w = a.shape[2:]
            around = F.pad(b, (1, 1, 1, 1))
            costs = [(a * around[:, :, i : i + h, j : j + w]).sum(1, keepdim=True) for i in range(3) for j in range(3)]
            flow = self.first(torch.cat([torch.cat(costs, 1) / 4, a], 1))
            rows, columns = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
            grid = torch.stack([columns, rows], -1) + 0.1 * torch.tanh(flow).permute(0, 2, 3, 1)
            warped = F.grid_sample(b, grid, align_corners=True)
            return flow + self.second(torch.cat([a, warped, flow], 1))

    both = {"x": torch.randn(2, 3, 16, 16), "z": torch.randn(2, 3, 16, 16)}
    return exported(Flow, both)
