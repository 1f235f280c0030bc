"""What listens: speech, letters in a row, series."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Permute, Residual, exported
from .registry import network
from .transformers import Attention, encoder, mlp

FRAMES = {"x": {0: "batch", 1: "frames"}}
SAMPLES = {"x": {0: "batch", 2: "samples"}}


class Half(nn.Module):
    """Half of what it does."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.f(x)


class Convolution(nn.Module):
    """Conformer's: gated, deep, normed, narrow again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(width, 2 * width, 1), nn.Conv1d(width, width, 1)
        self.deep, self.norm = nn.Conv1d(width, width, 7, padding=3, groups=width), nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(self.one(x.transpose(1, 2)), 1)
        return self.two(F.silu(self.norm(self.deep(y)))).transpose(1, 2)


class Relative(nn.Module):
    """Attention with Transformer-XL's places: two biases, a table of distances, rows shifted."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.p, self.out = (nn.Linear(width, width) for _ in range(5))
        self.u, self.w = (
            nn.Parameter(torch.empty(heads, width // heads)),
            nn.Parameter(torch.empty(heads, width // heads)),
        )
        self.heads = heads
        self.register_buffer("fixed_places", torch.randn(1, 2 * 12 - 1, width))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v, p = (
            f(y).reshape(y.shape[0], -1, self.heads, c // self.heads)
            for f, y in ((self.q, x), (self.k, x), (self.v, x), (self.p, self.fixed_places))
        )
        near = (q + self.u).transpose(1, 2) @ k.permute(0, 2, 3, 1)
        far = (q + self.w).transpose(1, 2) @ p.permute(0, 2, 3, 1)
        far = F.pad(far, (1, 0)).reshape(n, self.heads, -1, t)[:, :, 1:].reshape(n, self.heads, t, -1)[..., :t]
        y = ((near + far) * (c // self.heads) ** -0.5).softmax(-1) @ v.transpose(1, 2)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


def conformer_block(attention: nn.Module, width: int) -> nn.Sequential:
    wide = [Residual(nn.LayerNorm(width), Half(mlp(width, 2 * width, nn.SiLU))) for _ in range(2)]
    attend, convolve = Residual(nn.LayerNorm(width), attention), Residual(nn.LayerNorm(width), Convolution(width))
    return nn.Sequential(wide[0], attend, convolve, wide[1], nn.LayerNorm(width))


@network("Conformer block", groups=5)
def conformer() -> onnx.ModelProto:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 24), conformer_block(Attention(24, 3, joined=False), 24), nn.Linear(24, 8))

    return exported(make, {"x": torch.randn(2, 12, 10)}, axes=FRAMES)


@network("Conformer with relative places", groups=8)
def conformer_relative() -> onnx.ModelProto:
    class Subsampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
            self.out = nn.Linear(32, 24)

        def forward(self, x: Tensor) -> Tensor:
            y = self.f(x.unsqueeze(1))
            n, c, t, f = y.shape
            return self.out(y.transpose(1, 2).reshape(n, t, c * f))

    def make() -> nn.Module:
        return nn.Sequential(Subsampled(), conformer_block(Relative(24, 3), 24), nn.Linear(24, 8), nn.LogSoftmax(-1))

    return exported(make, {"x": torch.randn(2, 48, 16)})


@network("wav2vec", groups=5)
def wav2vec() -> onnx.ModelProto:
    class Places(nn.Module):
        """A grouped convolution along time tells where a frame is."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.f = nn.utils.parametrizations.weight_norm(nn.Conv1d(width, width, 8, padding=4, groups=4), dim=2)

        def forward(self, x: Tensor) -> Tensor:
            return F.gelu(self.f(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)

    def make() -> nn.Module:
        ears = [
            nn.Conv1d(1, 12, 10, 5, bias=False),
            nn.GroupNorm(12, 12),
            nn.GELU(),
            nn.Conv1d(12, 16, 3, 2, bias=False),
        ]
        features = [nn.GELU(), Permute(0, 2, 1), nn.LayerNorm(16), nn.Linear(16, 24), Residual(Places(24))]
        return nn.Sequential(*ears, *features, nn.LayerNorm(24), encoder(24, 3, 40, joined=False), nn.Linear(24, 9))

    return exported(make, {"x": torch.randn(2, 1, 200)}, axes=SAMPLES)


@network("TCN", groups=5)
def tcn() -> onnx.ModelProto:
    class Block(nn.Module):
        def __init__(self, a: int, b: int, dilation: int) -> None:
            super().__init__()
            norm = nn.utils.parametrizations.weight_norm
            self.one = norm(nn.Conv1d(a, b, 3, padding=2 * dilation, dilation=dilation))
            self.two = norm(nn.Conv1d(b, b, 3, padding=2 * dilation, dilation=dilation))
            self.down, self.cut = nn.Conv1d(a, b, 1) if a != b else nn.Identity(), 2 * dilation

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.one(x)[:, :, : -self.cut].contiguous())
            y = torch.relu(self.two(y)[:, :, : -self.cut].contiguous())
            return torch.relu(y + self.down(x))

    class Last(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, -1]

    def make() -> nn.Module:
        return nn.Sequential(Block(5, 12, 1), Block(12, 16, 2), Block(16, 16, 4), Last(), nn.Linear(16, 4))

    return exported(make, {"x": torch.randn(2, 5, 30)}, axes=SAMPLES)


@network("CRNN with CTC", groups=5)
def crnn() -> onnx.ModelProto:
    class Crnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            bottom = [
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 12, 3, padding=1),
                nn.ReLU(),
            ]
            self.f = nn.Sequential(*bottom, nn.MaxPool2d((2, 1)), nn.Conv2d(12, 16, (4, 3), padding=(0, 1)), nn.ReLU())
            self.one, self.two = nn.LSTM(16, 12, bidirectional=True), nn.LSTM(24, 10, bidirectional=True)
            self.out = nn.Linear(20, 7)

        def forward(self, x: Tensor) -> Tensor:
            y = self.f(x).squeeze(2).permute(2, 0, 1)
            return F.log_softmax(self.out(self.two(self.one(y)[0])[0]), 2)

    return exported(Crnn, {"x": torch.randn(2, 1, 16, 24)}, axes={"x": {0: "batch", 3: "w"}})
