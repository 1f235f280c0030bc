"""Larger networks for the pruning benchmark: a detector, a diffusion UNet and a transformer.

They are built as such networks are, and their weights had no training. Each is one module, which Torch-Pruning gets
as it is and which is exported for the tools that read ONNX.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from twins import conv

swish = functools.partial(conv, act=nn.SiLU)


class Residual(nn.Module):
    """Two 3x3 convolutions, with a residual where asked."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(swish(width, width, 3), swish(width, width, 3))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


class Stage(nn.Module):
    """A partial stage (Wang et al. 2020): half of the channels goes through blocks, each of whose results is kept.

    Each half is a convolution of its own: of one that is cut in two Torch-Pruning 1.6.1 counts channels wrong.
    """

    def __init__(self, inside: int, out: int, depth: int, residual: bool = True) -> None:
        super().__init__()
        self.plain, self.first = swish(inside, out // 2), swish(inside, out // 2)
        self.last = swish((2 + depth) * (out // 2), out)
        self.blocks = nn.ModuleList(Residual(out // 2, residual) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.plain(x), self.first(x)]
        for block in self.blocks:
            kept.append(block(kept[-1]))
        return self.last(torch.cat(kept, 1))


class Pyramid(nn.Module):
    """Max pooling over three growing windows, joined (He et al. 2014)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = swish(width, width // 2), swish(2 * width, width)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.first(x)]
        for _ in range(3):
            kept.append(self.pool(kept[-1]))
        return self.last(torch.cat(kept, 1))


class Head(nn.Module):
    """At each scale: class scores [B, classes, P], and four distances [B, 4, P] as means over bins (Li et al. 2020)."""

    def __init__(self, widths: tuple[int, ...], classes: int = 80, bins: int = 16) -> None:
        super().__init__()
        self.boxes = nn.ModuleList(self._branch(width, 64, 4 * bins) for width in widths)
        self.classes = nn.ModuleList(self._branch(width, widths[0], classes) for width in widths)
        self.register_buffer("bins", torch.arange(float(bins)).view(1, 1, bins, 1))

    @staticmethod
    def _branch(inside: int, width: int, out: int) -> nn.Sequential:
        return nn.Sequential(swish(inside, width, 3), swish(width, width, 3), nn.Conv2d(width, out, 1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        boxes = torch.cat([branch(x).flatten(2) for branch, x in zip(self.boxes, maps, strict=True)], 2)
        classes = torch.cat([branch(x).flatten(2) for branch, x in zip(self.classes, maps, strict=True)], 2)
        sides = (boxes.unflatten(1, (4, -1)).softmax(2) * self.bins).sum(2)
        return torch.cat([sides, classes.sigmoid()], 1)


class Detector(nn.Module):
    """YOLO-like: partial stages down, a pyramid up and down again with concats, a head at three scales."""

    def __init__(
        self, widths: tuple[int, ...] = (32, 64, 128, 256, 512), depths: tuple[int, ...] = (2, 4, 4, 2)
    ) -> None:
        super().__init__()
        self.stem = swish(3, widths[0], 3, 2)
        self.down = nn.ModuleList(
            nn.Sequential(swish(a, b, 3, 2), Stage(b, b, n))
            for a, b, n in zip(widths[:-1], widths[1:], depths, strict=True)
        )
        small, middle, large = widths[2:]
        self.pyramid, self.grow = Pyramid(large), nn.Upsample(scale_factor=2)
        self.up1, self.up2 = Stage(large + middle, middle, 2, False), Stage(middle + small, small, 2, False)
        self.shrink1, self.shrink2 = swish(small, small, 3, 2), swish(middle, middle, 3, 2)
        self.down1, self.down2 = Stage(small + middle, middle, 2, False), Stage(middle + large, large, 2, False)
        self.head = Head((small, middle, large))

    def forward(self, image: Tensor) -> Tensor:
        maps = [self.stem(image)]
        for layers in self.down:
            maps.append(layers(maps[-1]))
        deep = self.pyramid(maps[4])
        middle = self.up1(torch.cat([self.grow(deep), maps[3]], 1))
        fine = self.up2(torch.cat([self.grow(middle), maps[2]], 1))
        middle = self.down1(torch.cat([self.shrink1(fine), middle], 1))
        deep = self.down2(torch.cat([self.shrink2(middle), deep], 1))
        return self.head([fine, middle, deep])


class Attention(nn.Module):
    """Vaswani et al. 2017: x [B, N, width] reads of a context [B, M, inside], of itself where there is none."""

    def __init__(self, width: int, heads: int, inside: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(inside or width, width), nn.Linear(inside or width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        q, k, v = (self._split(t) for t in (self.query(x), self.key(source), self.value(source)))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        return self.out((scores.softmax(3) @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, heads * width] as [B, heads, N, width]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Gated(nn.Module):
    """Two linear layers of which the first is gated (Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.grow, self.shrink = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.grow(x).chunk(2, -1)
        return self.shrink(value * nn.functional.gelu(gate))


class Block(nn.Module):
    """Self-attention, cross-attention where there is a context, and an MLP, each after a LayerNorm, with residuals."""

    def __init__(self, width: int, heads: int, mlp: nn.Module, context: int | None = None) -> None:
        super().__init__()
        self.norm1, self.attend = nn.LayerNorm(width), Attention(width, heads)
        self.cross = None if context is None else Attention(width, heads, context)
        self.norm2 = nn.Identity() if context is None else nn.LayerNorm(width)
        self.norm3, self.mlp = nn.LayerNorm(width), mlp

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x + self.attend(self.norm1(x))
        if self.cross is not None:
            x = x + self.cross(self.norm2(x), context)
        return x + self.mlp(self.norm3(x))


class Spatial(nn.Module):
    """A block over the pixels of x [B, width, H, W], with a residual (Rombach et al. 2022)."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm, self.inside = nn.GroupNorm(32, width), nn.Conv2d(width, width, 1)
        self.block, self.out = Block(width, 4, Gated(width, 4 * width), context), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.inside(self.norm(x))
        tokens = self.block(y.flatten(2).transpose(1, 2), context)
        return x + self.out(tokens.transpose(1, 2).unflatten(2, y.shape[2:]))


class TimedBlock(nn.Module):
    """Ho et al. 2020: two convolutions after GroupNorm, the time added between them, a residual."""

    def __init__(self, inside: int, out: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, inside), nn.Conv2d(inside, out, 3, padding=1)
        self.time = nn.Linear(time, out)
        self.norm2, self.conv2 = nn.GroupNorm(32, out), nn.Conv2d(out, out, 3, padding=1)
        self.project = nn.Identity() if inside == out else nn.Conv2d(inside, out, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.conv1(self.act(self.norm1(x))) + self.time(self.act(time))[:, :, None, None]
        return self.project(x) + self.conv2(self.act(self.norm2(y)))


class Level(nn.Module):
    """A timed block and attention to the context."""

    def __init__(self, inside: int, out: int, time: int, context: int) -> None:
        super().__init__()
        self.block, self.attend = TimedBlock(inside, out, time), Spatial(out, context)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return self.attend(self.block(x, time), context)


class Unet(nn.Module):
    """Like Stable Diffusion's: what every layer down gave is joined to the input of one up.

    Inputs: a noisy latent [B, 4, H, W], its step [B], and the context [B, M, 128].
    """

    def __init__(self, width: int = 64, factors: tuple[int, ...] = (1, 2, 4), context: int = 128) -> None:
        super().__init__()
        self.width, time = width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.stem = nn.Conv2d(4, width, 3, padding=1)
        widths, inside = [width], width
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for number, factor in enumerate(factors):
            for _ in range(2):
                self.down.append(Level(inside, width * factor, time, context))
                inside = width * factor
                widths.append(inside)
            if number < len(factors) - 1:
                self.down.append(nn.Conv2d(inside, inside, 3, 2, 1))
                widths.append(inside)
        self.middle, self.last = Level(inside, inside, time, context), TimedBlock(inside, inside, time)
        for number, factor in reversed(list(enumerate(factors))):
            for _ in range(3):
                self.up.append(Level(inside + widths.pop(), width * factor, time, context))
                inside = width * factor
            if number:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inside, inside, 3, padding=1)))
        self.norm, self.out = nn.GroupNorm(32, inside), nn.Conv2d(inside, 4, 3, padding=1)

    def forward(self, x: Tensor, step: Tensor, context: Tensor) -> Tensor:
        time = self.time(self._waves(step))
        kept = [self.stem(x)]
        for layer in self.down:
            kept.append(layer(kept[-1], time, context) if isinstance(layer, Level) else layer(kept[-1]))
        y = self.last(self.middle(kept[-1], time, context), time)
        for layer in self.up:
            y = layer(torch.cat([y, kept.pop()], 1), time, context) if isinstance(layer, Level) else layer(y)
        return self.out(nn.functional.silu(self.norm(y)))

    def _waves(self, step: Tensor) -> Tensor:
        """The step [B] as cosines and sines [B, width] of falling frequencies."""
        half = self.width // 2
        angles = step[:, None] * torch.exp(torch.arange(half) * (-math.log(1e4) / half))
        return torch.cat([angles.cos(), angles.sin()], 1)


class Transformer(nn.Module):
    """Twelve encoder and twelve decoder layers, LayerNorm first: tokens [B, N] and [B, M] to logits [B, M, words]."""

    def __init__(self, width: int = 256, depth: int = 12, heads: int = 8, vocabulary: int = 2000) -> None:
        super().__init__()

        def mlp() -> nn.Module:
            return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        self.source, self.target = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)
        self.encoder = nn.ModuleList(Block(width, heads, mlp()) for _ in range(depth))
        self.decoder = nn.ModuleList(Block(width, heads, mlp(), width) for _ in range(depth))
        self.norm1, self.norm2, self.out = nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, y = self.source(source), self.target(target)
        for block in self.encoder:
            memory = block(memory)
        memory = self.norm1(memory)
        for block in self.decoder:
            y = block(y, memory)
        return self.out(self.norm2(y))


class Larger(NamedTuple):
    """A network, inputs to trace it with, and the layers whose outputs are the network's."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    ends: Callable[[nn.Module], list[nn.Module]]


def _tokens(count: int) -> Tensor:
    return torch.randint(0, 2000, (1, count))


LARGER = {
    "yolo_like": Larger(
        Detector,
        lambda: (torch.randn(1, 3, 256, 256),),
        lambda net: [branch[-1] for branch in (*net.head.boxes, *net.head.classes)],
    ),
    "sd_unet_like": Larger(
        Unet,
        lambda: (torch.randn(1, 4, 16, 16), torch.full((1,), 500.0), torch.randn(1, 16, 128)),
        lambda net: [net.out],
    ),
    "transformer_24": Larger(Transformer, lambda: (_tokens(32), _tokens(24)), lambda net: [net.out]),
}
