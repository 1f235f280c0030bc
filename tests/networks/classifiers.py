"""Convolutional classifiers: branches, joins, groups, attention over channels, kernels that are computed."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Residual, conv, exported, head, image
from .mobile import Gate
from .registry import network


class Join(nn.Module):
    """Branches, joined."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Dense(nn.Module):
    """BatchNorm first; the new channels stand behind those that came."""

    def __init__(self, a: int, growth: int) -> None:
        super().__init__()
        inner = [nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, 4 * growth, 1, bias=False), nn.BatchNorm2d(4 * growth)]
        self.f = nn.Sequential(*inner, nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.f(x)], 1)


@network("DenseNet", groups=14)
def densenet() -> onnx.ModelProto:
    def make() -> nn.Module:
        one = [Dense(16 + 6 * k, 6) for k in range(3)]
        across = [nn.BatchNorm2d(34), nn.ReLU(), nn.Conv2d(34, 18, 1, bias=False), nn.AvgPool2d(2)]
        two = [Dense(18 + 6 * k, 6) for k in range(3)]
        return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), *one, *across, *two, nn.BatchNorm2d(36), nn.ReLU(), head(36))

    return exported(make, image(3, 32, 32))


@network("Inception", groups=15)
def inception() -> onnx.ModelProto:
    def block(a: int) -> nn.Module:
        tall = nn.Conv2d(6, 6, (1, 7), padding=(0, 3)), nn.Conv2d(6, 8, (7, 1), padding=(3, 0))
        pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), conv(a, 6, 1))
        return Join(
            conv(a, 8, 1), nn.Sequential(conv(a, 6, 1), *tall), nn.Sequential(conv(a, 6, 1), conv(6, 10)), pooled
        )

    return exported(
        lambda: nn.Sequential(conv(3, 12, 3, 2), block(12), nn.MaxPool2d(3, 2), block(32), head(32)), image(3, 32, 32)
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 (or what is given), 1x1, and a shortcut."""

    def __init__(self, a: int, inner: int, b: int, middle: nn.Module, stride: int = 1, gate: nn.Module | None = None):
        super().__init__()
        self.f = nn.Sequential(conv(a, inner, 1), middle, conv(inner, b, 1, act=None), gate or nn.Identity())
        self.down = conv(a, b, 1, stride, act=None) if a != b or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.f(x) + self.down(x))


@network("ResNeXt", groups=7)
def resnext() -> onnx.ModelProto:
    def make() -> nn.Module:
        one, two = conv(16, 16, groups=4), conv(24, 24, 3, 2, groups=4)
        return nn.Sequential(conv(3, 16), Bottleneck(16, 16, 32, one), Bottleneck(32, 24, 48, two, 2), head(48))

    return exported(make, image(3, 16, 16), dynamo=True)


@network("RegNet with gates", groups=9)
def regnet() -> onnx.ModelProto:
    def make() -> nn.Module:
        one, two = (
            nn.Sequential(conv(24, 24, groups=3), Gate(24, 6)),
            nn.Sequential(conv(48, 48, 3, 2, groups=6), Gate(48, 6)),
        )
        return nn.Sequential(conv(3, 16), Bottleneck(16, 24, 24, one), Bottleneck(24, 48, 48, two, 2), head(48))

    return exported(make, image(3, 16, 16))


class Scales(nn.Module):
    """Res2Net's middle: each part takes the sum of itself and the one before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.f = nn.ModuleList([conv(width, width) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(4, 1)
        done = [self.f[0](parts[0])]
        for f, part in zip(self.f[1:], parts[1:3], strict=True):
            done.append(f(part + done[-1]))
        return torch.cat([*done, parts[3]], 1)


@network("Res2Net", groups=7)
def res2net() -> onnx.ModelProto:
    return exported(lambda: nn.Sequential(conv(3, 16), Bottleneck(16, 24, 32, Scales(6)), head(32)), image(3, 16, 16))


@network("SENet", groups=8)
def senet() -> onnx.ModelProto:
    class Squeeze(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(width, 4), nn.Linear(4, width)

        def forward(self, x: Tensor) -> Tensor:
            n, c, _, _ = x.shape
            y = torch.sigmoid(self.two(torch.relu(self.one(x.mean((2, 3))))))
            return x * y.view(n, c, 1, 1)

    def make() -> nn.Module:
        blocks = [
            Bottleneck(16, 8, 32, conv(8, 8), gate=Squeeze(32)),
            Bottleneck(32, 8, 32, conv(8, 8), gate=Squeeze(32)),
        ]
        return nn.Sequential(conv(3, 16), *blocks, head(32))

    return exported(make, image(3, 16, 16))


@network("CBAM", groups=4, share=0.98)
def cbam() -> onnx.ModelProto:
    class Attention(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.mlp = nn.Sequential(nn.Conv2d(width, 6, 1, bias=False), nn.ReLU(), nn.Conv2d(6, width, 1, bias=False))
            self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = x * torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1)))
            both = torch.cat([x.max(1, keepdim=True)[0], x.mean(1, keepdim=True)], 1)
            return x * torch.sigmoid(self.spatial(both))

    return exported(
        lambda: nn.Sequential(conv(3, 16), conv(16, 16), Attention(16), conv(16, 24), head(24)), image(3, 16, 16)
    )


@network("ECA", groups=3)
def eca() -> onnx.ModelProto:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2)
            return x * torch.sigmoid(self.conv(y).transpose(-1, -2).unsqueeze(-1))

    return exported(
        lambda: nn.Sequential(conv(3, 12), conv(12, 16), Attention(), conv(16, 20), head(20)), image(3, 16, 16)
    )


@network("SKNet", groups=4)
def sknet() -> onnx.ModelProto:
    class Select(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.paths = nn.ModuleList([conv(width, width, groups=2), conv(width, width, dilation=2)])
            self.squeeze, self.weigh = nn.Linear(width, 8), nn.Linear(8, 2 * width)

        def forward(self, x: Tensor) -> Tensor:
            both = torch.stack([path(x) for path in self.paths], 1)
            y = self.weigh(torch.relu(self.squeeze(both.sum(1).mean((2, 3)))))
            n, _, c, _, _ = both.shape
            return (both * torch.softmax(y.view(n, 2, c), 1)[..., None, None]).sum(1)

    return exported(lambda: nn.Sequential(conv(3, 16), Select(16), conv(16, 24), head(24)), image(3, 16, 16))


@network("RepVGG, branches apart", groups=3, day=True)
def repvgg() -> onnx.ModelProto:
    class Branches(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.three, self.one = conv(a, b, act=None), conv(a, b, 1, act=None)
            self.norm = nn.BatchNorm2d(a) if a == b else None

        def forward(self, x: Tensor) -> Tensor:
            y = self.three(x) + self.one(x)
            return torch.relu(y if self.norm is None else y + self.norm(x))

    def make() -> nn.Module:
        return nn.Sequential(Branches(3, 12), Branches(12, 16), Branches(16, 16), Branches(16, 20), head(20))

    return exported(make, image(3, 16, 16), whole=True)


@network("VGG", groups=5)
def vgg() -> onnx.ModelProto:
    def make() -> nn.Module:
        parts = list[nn.Module]()
        for a, b in ((3, 8), (8, 12), (12, 16)):
            parts += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        tail = [
            nn.Flatten(),
            nn.Linear(64, 24),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(24, 20),
            nn.ReLU(),
            nn.Linear(20, 10),
        ]
        return nn.Sequential(*parts, *tail)

    return exported(make, image(3, 16, 16))


@network("weights standardised", groups=3)
def standardised() -> onnx.ModelProto:
    class Standard(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            w = self.weight
            mean, var = w.mean((1, 2, 3), keepdim=True), w.var((1, 2, 3), keepdim=True)
            return F.conv2d(x, (w - mean) / torch.sqrt(var + 1e-5), self.bias, self.stride, self.padding)

    def make() -> nn.Module:
        body = Residual(nn.ReLU(), Standard(12, 8, 3, padding=1), nn.ReLU(), Standard(8, 12, 3, padding=1))
        return nn.Sequential(Standard(3, 12, 3, padding=1), body, nn.ReLU(), Standard(12, 16, 1), nn.ReLU(), head(16))

    return exported(make, image(3, 16, 16), whole=True)


@network("weights normalised", groups=3)
def normalised() -> onnx.ModelProto:
    norm = nn.utils.parametrizations.weight_norm

    def make() -> nn.Module:
        parts = [norm(nn.Conv1d(4, 12, 3, padding=1)), nn.ELU(), norm(nn.ConvTranspose1d(12, 10, 4, 2, 1)), nn.ELU()]
        return nn.Sequential(*parts, norm(nn.Conv1d(10, 8, 3)), nn.ELU(), nn.Conv1d(8, 2, 1))

    return exported(make, image(4, 20), whole=True)


@network("dynamic convolution", groups=3)
def dynamic() -> onnx.ModelProto:
    class Mixture(nn.Module):
        """Kernels of several experts, mixed for each image: CondConv."""

        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.kernels = nn.Parameter(torch.empty(3, b * a * 9))
            self.choose, self.out = nn.Linear(a, 3), b

        def forward(self, x: Tensor) -> Tensor:
            n, c, h, w = x.shape
            mixed = torch.matmul(torch.sigmoid(self.choose(x.mean((2, 3)))), self.kernels)
            y = F.conv2d(x.reshape(1, n * c, h, w), mixed.view(n * self.out, c, 3, 3), padding=1, groups=n)
            return y.reshape(n, self.out, h, w)

    return exported(
        lambda: nn.Sequential(conv(3, 12), conv(12, 8), Mixture(8, 10), nn.ReLU(), conv(10, 16), head(16)),
        image(3, 12, 12),
        axes={},
    )
