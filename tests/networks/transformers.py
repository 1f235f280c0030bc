"""Vision by tokens: attention, windows, mixing, and convolutions that look like it."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Permute, Residual, conv, exported, head, image
from .registry import network


class Attention(nn.Module):
    """Heads over tokens [N, T, C]; q, k and v by one layer where `joined`, softmax written out where `written`."""

    def __init__(self, width: int, heads: int, joined: bool = True, written: bool = False) -> None:
        super().__init__()
        self.heads, self.joined, self.written = heads, joined, written
        self.qkv = nn.Linear(width, 3 * width) if joined else nn.ModuleList([nn.Linear(width, width) for _ in range(3)])
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        n, t, c = x.shape
        if self.joined:
            q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        else:
            other = x if memory is None else memory
            q, k, v = (
                f(y).reshape(n, -1, self.heads, c // self.heads).transpose(1, 2)
                for f, y in zip(self.qkv, (x, other, other), strict=True)
            )
        if self.written:
            scores = q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5
            y = torch.softmax(scores if mask is None else scores + mask, -1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


def mlp(width: int, inner: int, act: type[nn.Module] = nn.GELU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), act(), nn.Linear(inner, width))


def encoder(width: int, heads: int, inner: int, joined: bool = True, written: bool = False) -> nn.Sequential:
    """A layer with norms first."""
    attention = Residual(nn.LayerNorm(width), Attention(width, heads, joined, written))
    return nn.Sequential(attention, Residual(nn.LayerNorm(width), mlp(width, inner)))


def _vit() -> nn.Module:
    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 24, 8, 8)
            self.token, self.places = nn.Parameter(torch.empty(1, 1, 24)), nn.Parameter(torch.empty(1, 17, 24))
            self.layers = nn.Sequential(encoder(24, 3, 48), encoder(24, 3, 48), nn.LayerNorm(24))
            self.head = nn.Linear(24, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.patches(x).flatten(2).transpose(1, 2)
            y = torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1) + self.places
            return self.head(self.layers(y)[:, 0])

    return ViT()


@network("ViT", groups=5)
def vit() -> onnx.ModelProto:
    return exported(_vit, image(3, 32, 32))


@network("ViT, by dynamo", groups=5)
def vit_dynamo() -> onnx.ModelProto:
    return exported(_vit, image(3, 32, 32), dynamo=True)


class Window(nn.Module):
    """Swin's block: windows of 4 x 4, shifted by half where asked, with a bias for each pair of places."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm, self.attend, self.shift = nn.LayerNorm(width), Attention(width, heads, written=True), shift
        self.bias = nn.Parameter(torch.empty(1, heads, 16, 16))
        self.rest = Residual(nn.LayerNorm(width), mlp(width, 2 * width))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2)) if self.shift else self.norm(x)
        y = y.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        y = self.attend(y, mask=self.bias)
        y = y.view(-1, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, c)
        y = torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y
        return self.rest(x + y)


class Merge(nn.Module):
    """Four neighbours become one token."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.norm, self.f = nn.LayerNorm(4 * a), nn.Linear(4 * a, b, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.f(self.norm(torch.cat(parts, -1)))


@network("Swin", groups=8)
def swin() -> onnx.ModelProto:
    class Swin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            stages = [Window(16, 2, 0), Window(16, 2, 2), Merge(16, 24), Window(24, 3, 0)]
            self.first = nn.Sequential(nn.Conv2d(3, 16, 4, 4), Permute(0, 2, 3, 1), nn.LayerNorm(16))
            self.stages, self.norm, self.head = nn.Sequential(*stages), nn.LayerNorm(24), nn.Linear(24, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.stages(self.first(x))).mean((1, 2)))

    return exported(Swin, image(3, 32, 32))


@network("MLP-Mixer", groups=3)
def mixer() -> onnx.ModelProto:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = mlp(16, 20)

        def forward(self, x: Tensor) -> Tensor:
            return self.f(x.transpose(1, 2)).transpose(1, 2)

    def make() -> nn.Module:
        first = [nn.Conv2d(3, 24, 8, 8), nn.Flatten(2), Permute(0, 2, 1)]
        layers = [Residual(nn.LayerNorm(24), Tokens()), Residual(nn.LayerNorm(24), mlp(24, 48))]
        return nn.Sequential(
            *first,
            *layers,
            nn.LayerNorm(24),
            Permute(0, 2, 1),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(24, 10),
        )

    return exported(make, image(3, 32, 32))


@network("gMLP", groups=3, share=0.94)
def gmlp() -> onnx.ModelProto:
    class Gated(nn.Module):
        """A half of the channels, normed and mixed over places, gates the other half."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.norm = nn.Linear(24, 64), nn.Linear(32, 24), nn.LayerNorm(32)
            self.places = nn.Conv1d(16, 16, 1)

        def forward(self, x: Tensor) -> Tensor:
            u, v = F.gelu(self.one(x)).chunk(2, -1)
            return self.two(u * self.places(self.norm(v)))

    def make() -> nn.Module:
        first = [nn.Conv2d(3, 24, 8, 8), nn.Flatten(2), Permute(0, 2, 1)]
        layers = [Residual(nn.LayerNorm(24), Gated()) for _ in range(2)]
        return nn.Sequential(*first, *layers, nn.LayerNorm(24), nn.Linear(24, 10))

    return exported(make, image(3, 32, 32))


@network("PoolFormer", groups=4)
def poolformer() -> onnx.ModelProto:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - x

    def block(width: int) -> nn.Sequential:
        wide = nn.Conv2d(width, 3 * width, 1), nn.GELU(), nn.Conv2d(3 * width, width, 1)
        return nn.Sequential(Residual(nn.GroupNorm(1, width), Pooled()), Residual(nn.GroupNorm(1, width), *wide))

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 12, 7, 4, 3), block(12), nn.Conv2d(12, 20, 3, 2, 1), block(20), head(20))

    return exported(make, image(3, 32, 32))


@network("ConvNeXt", groups=4)
def convnext() -> onnx.ModelProto:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.deep, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
            self.f, self.gamma = mlp(width, 4 * width), nn.Parameter(torch.empty(width))

        def forward(self, x: Tensor) -> Tensor:
            y = self.f(self.norm(self.deep(x).permute(0, 2, 3, 1))) * self.gamma
            return x + y.permute(0, 3, 1, 2)

    class Norm(nn.LayerNorm):
        """Over channels that come first."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def make() -> nn.Module:
        down = [Norm(12), nn.Conv2d(12, 20, 2, 2)]
        return nn.Sequential(
            nn.Conv2d(3, 12, 4, 4),
            Norm(12),
            Block(12),
            *down,
            Block(20),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(20),
            nn.Linear(20, 10),
        )

    return exported(make, image(3, 32, 32))


@network("ConvNeXt, by dynamo", groups=4)
def convnext_dynamo() -> onnx.ModelProto:
    class Block(nn.Module):
        """The second generation: a response norm over places, and its ratio to the mean of all channels."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.deep, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
            self.one, self.two = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.gamma, self.beta = nn.Parameter(torch.empty(4 * width)), nn.Parameter(torch.empty(4 * width))

        def forward(self, x: Tensor) -> Tensor:
            y = F.gelu(self.one(self.norm(self.deep(x).permute(0, 2, 3, 1))))
            each = torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
            y = y + self.gamma * y * (each / (each.mean(-1, keepdim=True) + 1e-6)) + self.beta
            return x + self.two(y).permute(0, 3, 1, 2)

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 12, 4, 4), Block(12), nn.Conv2d(12, 20, 2, 2), Block(20), head(20))

    return exported(make, image(3, 32, 32), dynamo=True)


@network("MobileViT", groups=8)
def mobilevit() -> onnx.ModelProto:
    class Block(nn.Module):
        """Places of patches of 2 x 2 attend to their like; joined with what came."""

        def __init__(self, width: int, inner: int) -> None:
            super().__init__()
            self.near = nn.Sequential(conv(width, width, act=nn.SiLU), nn.Conv2d(width, inner, 1, bias=False))
            self.far = nn.Sequential(encoder(inner, 2, 2 * inner), nn.LayerNorm(inner))
            self.back, self.join = conv(inner, width, 1, act=nn.SiLU), conv(2 * width, width, act=nn.SiLU)

        def forward(self, x: Tensor) -> Tensor:
            y = self.near(x)
            n, c, h, w = y.shape
            y = y.reshape(n * c * h // 2, 2, w // 2, 2).transpose(1, 2).reshape(n, c, h * w // 4, 4)
            y = self.far(y.transpose(1, 3).reshape(n * 4, h * w // 4, c)).reshape(n, 4, h * w // 4, c).transpose(1, 3)
            y = y.reshape(n * c * h // 2, w // 2, 2, 2).transpose(1, 2).reshape(n, c, h, w)
            return self.join(torch.cat([x, self.back(y)], 1))

    return exported(
        lambda: nn.Sequential(conv(3, 12, 3, 2, act=nn.SiLU), Block(12, 16), conv(12, 20), head(20)), image(3, 16, 16)
    )


@network("cross-covariance attention", groups=3)
def xcit() -> onnx.ModelProto:
    class Channels(nn.Module):
        """Heads of channels attend to each other, each normed over all places."""

        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
            self.heat = nn.Parameter(torch.empty(heads, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            n, t, c = x.shape
            q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 4, 1)
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.heat
            return self.out((torch.softmax(scores, -1) @ v).permute(0, 3, 1, 2).reshape(n, t, c))

    def make() -> nn.Module:
        first = [nn.Conv2d(3, 24, 8, 8), nn.Flatten(2), Permute(0, 2, 1)]
        return nn.Sequential(
            *first,
            Residual(nn.LayerNorm(24), Channels(24, 3)),
            Residual(nn.LayerNorm(24), mlp(24, 40)),
            nn.LayerNorm(24),
            nn.Linear(24, 10),
        )

    return exported(make, image(3, 32, 32))
