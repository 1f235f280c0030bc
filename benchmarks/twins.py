"""Plain PyTorch twins of the networks that the pruning benchmark compares, layer by layer as their papers and the
usual model collections build them. ConvNeXt and ViT are made of the layers that Torch-Pruning knows (Linear, LayerNorm,
MultiheadAttention): what the code made from an ONNX file computes with bare parameters, Torch-Pruning can't group.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

Layer = type[nn.Module]


def conv(
    inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: Layer | None = nn.ReLU
) -> nn.Sequential:
    """Convolution, BatchNorm, and an activation unless it is None."""
    layers = [
        nn.Conv2d(inside, outside, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *([act()] if act is not None else []))


class Bottleneck(nn.Module):
    """He et al. 2016: 1x1, 3x3 and 1x1 with a residual; RegNetY (Radosavovic et al. 2020) adds groups and SE."""

    def __init__(self, inside: int, inner: int, out: int, stride: int, groups: int = 1, squeeze: int = 0) -> None:
        super().__init__()
        self.a, self.b = conv(inside, inner), conv(inner, inner, 3, stride, groups)
        self.se = Squeeze(inner, squeeze, nn.ReLU, nn.Sigmoid) if squeeze else nn.Identity()
        self.c = conv(inner, out, act=None)
        self.project = conv(inside, out, 1, stride, act=None) if stride > 1 or inside != out else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        short = x if self.project is None else self.project(x)
        return self.act(self.c(self.se(self.b(self.a(x)))) + short)


def classifier(body: Sequence[nn.Module], *head: nn.Module) -> nn.Sequential:
    """Layers, the mean over the image, and the layers of a head."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for k, depth in enumerate((3, 4, 6, 3)):
        for n in range(depth):
            layers.append(Bottleneck(inside, 64 << k, 256 << k, 2 if k and not n else 1))
            inside = 256 << k
    return classifier(layers, nn.Linear(2048, 1000))


def regnet_y_400mf() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 32, 3, 2)]
    inside = 32
    for width, depth in zip((48, 104, 208, 440), (1, 3, 6, 6), strict=True):
        for n in range(depth):
            layers.append(Bottleneck(inside, width, width, 1 if n else 2, width // 8, round(0.25 * inside)))
            inside = width
    return classifier(layers, nn.Linear(440, 1000))


class DenseLayer(nn.Module):
    """Huang et al. 2017: BatchNorm first, a 1x1 bottleneck, 32 new channels from all that came before."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)
        self.act1, self.act2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, before: list[torch.Tensor]) -> torch.Tensor:
        y = self.conv1(self.act1(self.norm1(torch.cat(before, 1))))
        return self.conv2(self.act2(self.norm2(y)))


class DenseBlock(nn.Module):
    def __init__(self, inside: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inside + 32 * n) for n in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = [x]
        for layer in self.layers:
            before.append(layer(before))
        return torch.cat(before, 1)


def densenet(depths: Sequence[int]) -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for k, depth in enumerate(depths):
        layers.append(DenseBlock(inside, depth))
        inside += 32 * depth
        layers += [nn.BatchNorm2d(inside), nn.ReLU(inplace=True)]
        if k < len(depths) - 1:
            layers += [nn.Conv2d(inside, inside // 2, 1, bias=False), nn.AvgPool2d(2)]
            inside //= 2
    return classifier(layers, nn.Linear(inside, 1000))


class Squeeze(nn.Module):
    """Hu et al. 2018: channels weighted by what two layers make of their means."""

    def __init__(self, width: int, inner: int, act: Layer, gate: Layer) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))


class Inverted(nn.Module):
    """Sandler et al. 2018: 1x1 wider, depthwise, squeeze, 1x1 narrower, with a residual where shapes agree."""

    def __init__(
        self, inside: int, inner: int, out: int, kernel: int, stride: int, act: Layer, squeeze: nn.Module | None
    ) -> None:
        super().__init__()
        layers = [conv(inside, inner, act=act)] if inner != inside else []
        layers.append(conv(inner, inner, kernel, stride, inner, act))
        layers += [squeeze] if squeeze is not None else []
        self.layers = nn.Sequential(*layers, conv(inner, out, act=None))
        self.residual = stride == 1 and inside == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


MOBILE = (
    (16, 3, 16, 0, 0, 1), (64, 3, 24, 0, 0, 2), (72, 3, 24, 0, 0, 1), (72, 5, 40, 1, 0, 2), (120, 5, 40, 1, 0, 1),
    (120, 5, 40, 1, 0, 1), (240, 3, 80, 0, 1, 2), (200, 3, 80, 0, 1, 1), (184, 3, 80, 0, 1, 1), (184, 3, 80, 0, 1, 1),
    (480, 3, 112, 1, 1, 1), (672, 3, 112, 1, 1, 1), (672, 5, 160, 1, 1, 2), (960, 5, 160, 1, 1, 1),
    (960, 5, 160, 1, 1, 1),
)  # fmt: skip
"""MobileNetV3-Large (Howard et al. 2019, table 1): inner width, kernel, width, squeeze, hard swish, stride."""


def mobilenet_v3_large() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 16, 3, 2, act=nn.Hardswish)]
    inside = 16
    for inner, kernel, out, squeeze, swish, stride in MOBILE:
        act = nn.Hardswish if swish else nn.ReLU
        gate = Squeeze(inner, math.ceil(inner / 4 / 8) * 8, nn.ReLU, nn.Hardsigmoid) if squeeze else None
        layers.append(Inverted(inside, inner, out, kernel, stride, act, gate))
        inside = out
    layers.append(conv(160, 960, act=nn.Hardswish))
    return classifier(layers, nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1280, 1000))


EFFICIENT = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip
"""EfficientNet-B0 (Tan and Le 2019, table 1): expansion, kernel, stride, width, blocks."""


def efficientnet_b0() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 32, 3, 2, act=nn.SiLU)]
    inside = 32
    for expand, kernel, stride, out, depth in EFFICIENT:
        for n in range(depth):
            gate = Squeeze(inside * expand, inside // 4, nn.SiLU, nn.Sigmoid)
            layers.append(Inverted(inside, inside * expand, out, kernel, 1 if n else stride, nn.SiLU, gate))
            inside = out
    layers.append(conv(320, 1280, act=nn.SiLU))
    return classifier(layers, nn.Dropout(0.2), nn.Linear(1280, 1000))


class ConvNextBlock(nn.Module):
    """Liu et al. 2022: depthwise 7x7, LayerNorm, two linear layers, a learned scale, a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.shrink(nn.functional.gelu(self.grow(y))).permute(0, 3, 1, 2)
        return x + self.gamma * y


class ChannelsLastNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext_tiny() -> nn.Module:
    widths, depths = (96, 192, 384, 768), (3, 3, 9, 3)
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), ChannelsLastNorm(96, eps=1e-6)]
    for k, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if k:
            layers += [ChannelsLastNorm(widths[k - 1], eps=1e-6), nn.Conv2d(widths[k - 1], width, 2, 2)]
        layers += [ConvNextBlock(width) for _ in range(depth)]
    head = [nn.AdaptiveAvgPool2d(1), ChannelsLastNorm(768, eps=1e-6), nn.Flatten(), nn.Linear(768, 1000)]
    return nn.Sequential(*layers, *head)


class EncoderBlock(nn.Module):
    """Dosovitskiy et al. 2021: attention and MLP, each after a LayerNorm and with a residual."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, inner: int = 3072) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 197, width) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, inner) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


TWINS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "densenet121": functools.partial(densenet, (6, 12, 24, 16)),
    "densenet201": functools.partial(densenet, (6, 12, 48, 32)),
    "mobilenet_v3_large": mobilenet_v3_large,
    "efficientnet_b0": efficientnet_b0,
    "regnet_y_400mf": regnet_y_400mf,
    "convnext_tiny": convnext_tiny,
    "vit_b_16": Vit,
}
