"""What makes sounds: voices, codecs."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import Residual, exported
from .registry import network

SAMPLES = {"x": {0: "batch", 2: "samples"}}


@network("WaveNet", groups=6)
def wavenet() -> onnx.ModelProto:
    class Layer(nn.Module):
        def __init__(self, width: int, skip: int, dilation: int) -> None:
            super().__init__()
            self.f, self.dilation = nn.Conv1d(width, 2 * width, 2, dilation=dilation), dilation
            self.stay, self.skip = nn.Conv1d(width, width, 1), nn.Conv1d(width, skip, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b = self.f(F.pad(x, (self.dilation, 0))).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            return x + self.stay(y), self.skip(y)

    class WaveNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.layers = nn.Conv1d(1, 12, 1), nn.ModuleList([Layer(12, 16, d) for d in (1, 2, 4)])
            self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(16, 14, 1), nn.ReLU(), nn.Conv1d(14, 8, 1))

        def forward(self, x: Tensor) -> Tensor:
            y, total = self.first(x), torch.zeros(1)
            for layer in self.layers:
                y, skip = layer(y)
                total = total + skip
            return self.out(total)

    return exported(WaveNet, {"x": torch.randn(2, 1, 40)}, axes=SAMPLES)


class Coupling(nn.Module):
    """Half of the channels shifts and stretches the other half; run backwards, as for speaking."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.pre, self.post = nn.Conv1d(width // 2, inner, 1), nn.Conv1d(inner, width, 1)
        self.f, self.skip = nn.Conv1d(inner, 2 * inner, 5, padding=2), nn.Conv1d(inner, 2 * inner, 1)
        self.half = width // 2

    def forward(self, x: Tensor, mask: Tensor, voice: Tensor) -> Tensor:
        a, b = torch.split(x, [self.half, self.half], 1)
        h = self.pre(a) * mask
        t, s = (self.f(h) + voice).chunk(2, 1)
        rest, skip = self.skip(torch.tanh(t) * torch.sigmoid(s)).chunk(2, 1)
        mean, log = torch.split(self.post((h + rest + skip) * mask) * mask, [self.half, self.half], 1)
        return torch.cat([a, (b - mean) * torch.exp(-log * 0.1) * mask], 1)


@network("VITS flow", groups=6)
def vits() -> onnx.ModelProto:
    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.voice = nn.ModuleList([Coupling(12, 10) for _ in range(3)]), nn.Linear(6, 20)
            self.out = nn.Sequential(
                nn.Conv1d(12, 16, 3, padding=1),
                nn.LeakyReLU(0.1),
                nn.ConvTranspose1d(16, 8, 4, 2, 1),
                nn.Tanh(),
                nn.Conv1d(8, 1, 3, padding=1),
            )

        def forward(self, x: Tensor, length: Tensor, voice: Tensor) -> Tensor:
            mask = (torch.arange(x.shape[2])[None] < length[:, None]).unsqueeze(1).to(x.dtype)
            y, given = x * mask, self.voice(voice).unsqueeze(-1)
            for step in reversed(self.steps):
                y = step(torch.flip(y, [1]), mask, given)
            return self.out(y)

    inputs = {"x": torch.randn(2, 12, 20), "length": torch.tensor([20, 13]), "voice": torch.randn(2, 6)}
    return exported(Flow, inputs)


@network("codec with residual codebooks", groups=6, share=0.98, stays="folds its channels")
def codec() -> onnx.ModelProto:
    class Codes(nn.Module):
        """The nearest entry of each book in turn, of what the last one left."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.books = nn.ParameterList([torch.empty(16, width) for _ in range(3)])

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            left = x.transpose(1, 2)
            total, every = torch.zeros_like(left), []
            for book in self.books:
                far = left.pow(2).sum(-1, keepdim=True) - 2 * left @ book.t() + book.pow(2).sum(-1)
                code = far.argmin(-1)
                found = F.embedding(code, book)
                left, total = left - found, total + found
                every.append(code)
            return total.transpose(1, 2), torch.stack(every, 1)

    class Codec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = Residual(nn.ELU(), nn.Conv1d(12, 6, 3, padding=1), nn.ELU(), nn.Conv1d(6, 12, 1))
            self.encode = nn.Sequential(
                nn.Conv1d(1, 12, 7, padding=3),
                inner,
                nn.ELU(),
                nn.Conv1d(12, 16, 4, 2, 1),
                nn.ELU(),
                nn.Conv1d(16, 10, 3, padding=1),
            )
            self.codes = Codes(10)
            self.decode = nn.Sequential(
                nn.Conv1d(10, 16, 7, padding=3),
                nn.ELU(),
                nn.ConvTranspose1d(16, 12, 4, 2, 1),
                nn.ELU(),
                nn.Conv1d(12, 1, 7, padding=3),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y, codes = self.codes(self.encode(x))
            return self.decode(y), codes

    return exported(Codec, {"x": torch.randn(2, 1, 40)}, axes=SAMPLES, outputs=2)


@network("codec's decoder", groups=4)
def decoder() -> onnx.ModelProto:
    class Decoder(nn.Module):
        """From codes: a table for each book, a sum, an LSTM with a shortcut, transposed convolutions."""

        def __init__(self) -> None:
            super().__init__()
            self.books = nn.ModuleList([nn.Embedding(16, 12) for _ in range(4)])
            self.lstm = nn.LSTM(12, 12, 2)
            self.f = nn.Sequential(
                nn.ELU(),
                nn.ConvTranspose1d(12, 10, 4, 2, 1),
                nn.ELU(),
                nn.ConvTranspose1d(10, 8, 8, 4, 2),
                nn.ELU(),
                nn.Conv1d(8, 1, 3, padding=1),
            )

        def forward(self, codes: Tensor) -> Tensor:
            y = sum(book(codes[:, k]) for k, book in enumerate(self.books)).transpose(0, 1)
            return self.f((y + self.lstm(y)[0]).permute(1, 2, 0))

    return exported(Decoder, {"codes": torch.randint(0, 16, (2, 4, 10))}, axes={"codes": {0: "batch", 2: "frames"}})


@network("Tacotron step", groups=6)
def tacotron() -> onnx.ModelProto:
    class Step(nn.Module):
        """One step of the decoder: a frame, two cells, attention that sees where it was."""

        def __init__(self) -> None:
            super().__init__()
            self.pre = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU())
            self.one, self.two = nn.LSTM(12 + 14, 20), nn.LSTM(20 + 14, 18)
            self.q, self.k, self.v = nn.Linear(20, 10, False), nn.Linear(14, 10, False), nn.Linear(10, 1, False)
            self.near, self.place = nn.Conv1d(2, 6, 5, padding=2, bias=False), nn.Linear(6, 10, False)
            self.frame, self.stop = nn.Linear(18 + 14, 8), nn.Linear(18 + 14, 1)

        def forward(self, x: Tensor, memory: Tensor, weights: Tensor, context: Tensor) -> tuple[Tensor, ...]:
            a, _ = self.one(torch.cat([self.pre(x), context], 1).unsqueeze(0))
            place = self.place(self.near(weights).transpose(1, 2))
            energy = self.v(torch.tanh(self.q(a[0]).unsqueeze(1) + self.k(memory) + place)).squeeze(-1)
            now = energy.softmax(1)
            seen = torch.bmm(now.unsqueeze(1), memory).squeeze(1)
            b, _ = self.two(torch.cat([a[0], seen], 1).unsqueeze(0))
            both = torch.cat([b[0], seen], 1)
            return self.frame(both), self.stop(both), now

    inputs = {
        "x": torch.randn(2, 8),
        "memory": torch.randn(2, 9, 14),
        "weights": torch.rand(2, 2, 9),
        "context": torch.randn(2, 14),
    }
    axes = {name: {0: "batch"} for name in inputs} | {"memory": {0: "batch", 1: "t"}, "weights": {0: "batch", 2: "t"}}
    return exported(Step, inputs, axes=axes, outputs=3)
