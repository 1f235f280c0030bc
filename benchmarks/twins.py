"""ConvNeXt-Tiny and ViT-B/16 in plain PyTorch, built of the layers that Torch-Pruning knows (Linear, LayerNorm,
MultiheadAttention): what the code made from an ONNX file computes with bare parameters, Torch-Pruning can't group.
"""

from __future__ import annotations

import torch
from torch import nn


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


TWINS = {"convnext_tiny": convnext_tiny, "vit_b_16": Vit}
