"""Networks that make pictures, fields or other networks' weights."""

from __future__ import annotations

import itertools

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Residual, conv, exported, image
from .registry import network
from .transformers import Attention


class Modulated(nn.Module):
    """StyleGAN2: a style stretches the kernel's inputs, then each output is normed; groups make up for the batch."""

    def __init__(self, a: int, b: int, style: int, fused: bool, demodulate: bool = True) -> None:
        super().__init__()
        self.weight, self.style = nn.Parameter(torch.empty(1, b, a, 3, 3)), nn.Linear(style, a)
        self.noise, self.bias = nn.Parameter(torch.empty(1)), nn.Parameter(torch.empty(b, 1, 1))
        self.fused, self.demodulate = fused, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        n, a, h, w = x.shape
        s = self.style(style) + 1
        kernel = self.weight * s.view(n, 1, a, 1, 1)
        norm = torch.rsqrt(kernel.pow(2).sum((2, 3, 4)) + 1e-8) if self.demodulate else None
        if self.fused:
            kernel = kernel if norm is None else kernel * norm.view(n, -1, 1, 1, 1)
            y = F.conv2d(x.reshape(1, n * a, h, w), kernel.reshape(-1, a, 3, 3), padding=1, groups=n)
            y = y.reshape(n, -1, h, w)
        else:
            y = F.conv2d(x * s[:, :, None, None], self.weight[0], padding=1)
            y = y if norm is None else y * norm[:, :, None, None]
        return F.leaky_relu(y + self.bias + self.noise * torch.randn(n, 1, h, w), 0.2)


class Style(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Linear(6, 14), nn.LeakyReLU(0.2), nn.Linear(14, 10), nn.LeakyReLU(0.2))
        self.first = nn.Parameter(torch.empty(1, 16, 4, 4))
        self.one, self.two = Modulated(16, 12, 10, fused), Modulated(12, 12, 10, fused)
        self.colour = Modulated(12, 3, 10, fused, demodulate=False)

    def forward(self, z: Tensor) -> Tensor:
        style = self.map(z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-8))
        y = self.one(self.first.repeat(z.shape[0], 1, 1, 1), style)
        y = self.two(F.interpolate(y, scale_factor=2.0, mode="bilinear"), style)
        return self.colour(y, style)


@network("StyleGAN2, kernels for each picture", groups=2, share=0.14)
def stylegan_fused() -> onnx.ModelProto:
    return exported(lambda: Style(True), {"z": torch.randn(2, 6)}, axes={})


@network("StyleGAN2, activations stretched", groups=5, stays="folds its channels")
def stylegan() -> onnx.ModelProto:
    return exported(lambda: Style(False), {"z": torch.randn(2, 6)})


@network("DCGAN", groups=3)
def dcgan() -> onnx.ModelProto:
    def make() -> nn.Module:
        up = [nn.ConvTranspose2d(10, 16, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        up += [nn.ConvTranspose2d(16, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU()]
        return nn.Sequential(
            *up, nn.ConvTranspose2d(12, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()
        )

    return exported(make, {"x": torch.randn(2, 10, 1, 1)}, whole=True)


@network("VAE", groups=7)
def vae() -> onnx.ModelProto:
    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(
                conv(3, 8, 3, 2), conv(8, 12, 3, 2), nn.Flatten(), nn.Linear(192, 20), nn.ReLU()
            )
            self.mean, self.log = nn.Linear(20, 6), nn.Linear(20, 6)
            self.wide = nn.Sequential(nn.Linear(6, 18), nn.ReLU(), nn.Linear(18, 12 * 16), nn.ReLU())
            self.decode = nn.Sequential(nn.ConvTranspose2d(12, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 3, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            y = self.encode(x)
            mean, log = self.mean(y), self.log(y)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log)
            return self.decode(self.wide(z).view(-1, 12, 4, 4)).sigmoid()

    return exported(Vae, image(3, 16, 16))


@network("autoencoder of vectors", groups=5, share=0.98)
def autoencoder() -> onnx.ModelProto:
    def make() -> nn.Module:
        sizes, parts = (20, 16, 10, 4, 10, 16), list[nn.Module]()
        for a, b in itertools.pairwise(sizes):
            parts += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.SELU()]
        return nn.Sequential(*parts, nn.Linear(16, 20))

    return exported(make, image(20))


@network("diffusion U-Net", groups=8, share=0.97)
def diffusion() -> onnx.ModelProto:
    class Block(nn.Module):
        """Told the time; norms in groups of two channels."""

        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.GroupNorm(4, a), nn.GroupNorm(4, b)])
            self.one, self.two, self.time = (
                nn.Conv2d(a, b, 3, padding=1),
                nn.Conv2d(b, b, 3, padding=1),
                nn.Linear(20, b),
            )
            self.skip = nn.Conv2d(a, b, 1) if a != b else nn.Identity()

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            y = self.one(F.silu(self.norms[0](x))) + self.time(F.silu(t))[:, :, None, None]
            return self.skip(x) + self.two(F.silu(self.norms[1](y)))

    class Places(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm, self.attend = nn.GroupNorm(4, width), Attention(width, 2, written=True)

        def forward(self, x: Tensor) -> Tensor:
            n, c, h, w = x.shape
            y = self.attend(self.norm(x).reshape(n, c, h * w).transpose(1, 2))
            return x + y.transpose(1, 2).reshape(n, c, h, w)

    class Diffusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 20))
            self.first, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
            self.one, self.two, self.three = Block(16, 16), Block(16, 24), Block(40, 16)
            self.places, self.norm, self.out = Places(24), nn.GroupNorm(4, 16), nn.Conv2d(16, 3, 3, padding=1)
            self.register_buffer("fixed_pace", torch.exp(-torch.arange(4.0)))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            angles = t[:, None].float() * self.fixed_pace
            time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
            a = self.one(self.first(x), time)
            b = self.places(self.two(self.down(a), time))
            y = self.three(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1), time)
            return self.out(F.silu(self.norm(y)))

    return exported(Diffusion, {"x": torch.randn(2, 3, 8, 8), "t": torch.tensor([3, 7])})


@network("style transfer by instance norms", groups=4)
def style_transfer() -> onnx.ModelProto:
    def block(a: int, b: int, stride: int = 1) -> list[nn.Module]:
        return [nn.ReflectionPad2d(1), nn.Conv2d(a, b, 3, stride), nn.InstanceNorm2d(b, affine=True), nn.ReLU()]

    def make() -> nn.Module:
        body = Residual(*block(16, 16), *block(16, 16)[:3])
        up = [nn.Upsample(scale_factor=2.0), *block(16, 12)]
        return nn.Sequential(*block(3, 12), *block(12, 16, 2), body, *up, nn.ReflectionPad2d(1), nn.Conv2d(12, 3, 3))

    return exported(make, image(3, 12, 12))


@network("NeRF", groups=6)
def nerf() -> onnx.ModelProto:
    class Field(nn.Module):
        """Points and directions as waves; the points come in again half way."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.ModuleList([nn.Linear(15, 20), nn.Linear(20, 20), nn.Linear(35, 16), nn.Linear(16, 16)])
            self.density, self.feature = nn.Linear(16, 1), nn.Linear(16, 14)
            self.view, self.colour = nn.Linear(14 + 9, 10), nn.Linear(10, 3)

        def waves(self, x: Tensor, count: int) -> Tensor:
            return torch.cat([x, *(f(x * 2.0**k) for k in range(count) for f in (torch.sin, torch.cos))], -1)

        def forward(self, place: Tensor, way: Tensor) -> Tensor:
            p = self.waves(place, 2)
            y = p
            for k, f in enumerate(self.one):
                y = torch.relu(f(torch.cat([p, y], -1) if k == 2 else y))
            c = self.colour(torch.relu(self.view(torch.cat([self.feature(y), self.waves(way, 1)], -1))))
            return torch.cat([torch.sigmoid(c), torch.relu(self.density(y))], -1)

    return exported(Field, {"place": torch.randn(5, 3), "way": torch.randn(5, 3)})


@network("hypernetwork", groups=3, stays="summed over in a product")
def hypernetwork() -> onnx.ModelProto:
    class Hyper(nn.Module):
        """A network writes the weights of a small one: those stay, its own layers change."""

        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Sequential(
                nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5 * 8 + 8 * 3)
            )

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            weights = self.f(z)
            one, two = weights[:, :40].view(-1, 5, 8), weights[:, 40:].view(-1, 8, 3)
            return torch.bmm(torch.tanh(torch.bmm(x, one)), two)

    return exported(Hyper, {"x": torch.randn(2, 7, 5), "z": torch.randn(2, 6)})


@network("FiLM", groups=4)
def film() -> onnx.ModelProto:
    class Film(nn.Module):
        """A question stretches and shifts what is seen."""

        def __init__(self) -> None:
            super().__init__()
            self.see, self.ask = nn.Sequential(conv(3, 12), conv(12, 16, act=None)), nn.GRU(6, 10)
            self.tell, self.out = (
                nn.Linear(10, 32),
                nn.Sequential(nn.ReLU(), conv(16, 14), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(14, 4)),
            )

        def forward(self, x: Tensor, words: Tensor) -> Tensor:
            stretch, shift = self.tell(self.ask(words)[1][0]).chunk(2, 1)
            y = self.see(x)
            return self.out((1 + stretch)[:, :, None, None] * y + shift[:, :, None, None])

    return exported(
        Film,
        {"x": torch.randn(2, 3, 8, 8), "words": torch.randn(4, 2, 6)},
        axes={"x": {0: "batch"}, "words": {1: "batch"}},
    )
