"""Words and other series: transformers of any length, caches, recurrent layers with their state, scans."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import exported
from .registry import network
from .transformers import Attention, mlp

TOKENS = {0: "batch", 1: "length"}


def ids(length: int = 8) -> Tensor:
    return torch.randint(0, 30, (2, length))


class Bert(nn.Module):
    """Norms behind; words, places and kinds of token are summed."""

    def __init__(self, written: bool = True) -> None:
        super().__init__()
        self.word, self.kind, self.place = nn.Embedding(30, 24), nn.Embedding(2, 24), nn.Embedding(16, 24)
        self.norm = nn.LayerNorm(24)
        self.layers = nn.ModuleList(
            [
                nn.ModuleList(
                    [Attention(24, 4, joined=False, written=written), nn.LayerNorm(24), mlp(24, 40), nn.LayerNorm(24)]
                )
                for _ in range(2)
            ]
        )
        self.pool, self.out = nn.Linear(24, 20), nn.Linear(20, 3)

    def forward(self, words: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(words.shape[1])
        x = self.norm(self.word(words) + self.kind(kinds) + self.place(places))
        hidden = (1.0 - mask[:, None, None, :].float()) * -1e9
        for attend, one, wide, two in self.layers:
            x = one(x + attend(x, mask=hidden))
            x = two(x + wide(x))
        return self.out(torch.tanh(self.pool(x[:, 0])))


def _bert_inputs() -> dict[str, Tensor]:
    return {"words": ids(), "kinds": torch.randint(0, 2, (2, 8)), "mask": torch.ones(2, 8, dtype=torch.int64)}


@network("BERT of any length", groups=6)
def bert() -> onnx.ModelProto:
    return exported(Bert, _bert_inputs(), axes=dict.fromkeys(_bert_inputs(), TOKENS))


@network("BERT of any length, by dynamo", groups=6)
def bert_dynamo() -> onnx.ModelProto:
    return exported(Bert, _bert_inputs(), dynamo=True)


class Gpt(nn.Module):
    """Norms first, a triangle for a mask, one layer for q, k and v, words out by the table of words in (or not)."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(30, 24), nn.Embedding(16, 24)
        self.attend = nn.ModuleList([Attention(24, 4, written=True) for _ in range(2)])
        self.wide = nn.ModuleList([mlp(24, 48) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(24) for _ in range(5)])
        self.out = nn.Linear(24, 30, bias=False)
        if tied:
            self.out.weight = self.word.weight
        self.register_buffer("fixed_mask", torch.full((16, 16), float("-inf")).triu(1))

    def forward(self, words: Tensor) -> Tensor:
        t = words.shape[1]
        x = self.word(words) + self.place(torch.arange(t))
        for k, (attend, wide) in enumerate(zip(self.attend, self.wide, strict=True)):
            x = x + attend(self.norms[2 * k](x), mask=self.fixed_mask[:t, :t])
            x = x + wide(self.norms[2 * k + 1](x))
        return self.out(self.norms[4](x))


@network("GPT of any length", groups=5, share=0.97)
def gpt() -> onnx.ModelProto:
    return exported(lambda: Gpt(False), {"words": ids()}, axes={"words": TOKENS})


@network("GPT with tied words", groups=5, share=0.97)
def gpt_tied() -> onnx.ModelProto:
    return exported(lambda: Gpt(True), {"words": ids()}, axes={"words": TOKENS})


class Rms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Llama(nn.Module):
    """One step: rotary places, shared keys and values, a cache that grows, a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.q, self.k = nn.Embedding(30, 24), nn.Linear(24, 24, False), nn.Linear(24, 12, False)
        self.v, self.o = nn.Linear(24, 12, False), nn.Linear(24, 24, False)
        self.gate, self.up, self.down = nn.Linear(24, 32, False), nn.Linear(24, 32, False), nn.Linear(32, 24, False)
        self.norms, self.out = nn.ModuleList([Rms(24) for _ in range(3)]), nn.Linear(24, 30, False)
        self.register_buffer("fixed_pace", 1.0 / 10.0 ** (torch.arange(0, 6, 2) / 6))

    def forward(self, words: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        x, past = self.word(words), keys.shape[2]
        n, t, _ = x.shape
        angles = torch.outer(torch.arange(past, past + t).float(), self.fixed_pace)
        turn = torch.cat([angles, angles], -1)
        y = self.norms[0](x)
        q, k, v = (f(y).view(n, t, -1, 6).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = (a * turn.cos() + torch.cat([-a[..., 3:], a[..., :3]], -1) * turn.sin() for a in (q, k))
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        kk, vv = (a[:, :, None].expand(-1, -1, 2, -1, -1).reshape(n, 4, -1, 6) for a in (k, v))
        y = (q @ kk.transpose(-2, -1) * 6**-0.5).softmax(-1) @ vv
        x = x + self.o(y.transpose(1, 2).reshape(n, t, 24))
        y = self.norms[1](x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.out(self.norms[2](x)), k, v


@network("Llama step with a cache", groups=2)
def llama() -> onnx.ModelProto:
    inputs = {"words": ids(3), "keys": torch.randn(2, 2, 5, 6), "values": torch.randn(2, 2, 5, 6)}
    axes = {"words": TOKENS, "keys": {0: "batch", 2: "past"}, "values": {0: "batch", 2: "past"}}
    return exported(Llama, inputs, axes=axes, outputs=3)


@network("encoder and decoder", groups=6)
def seq2seq() -> onnx.ModelProto:
    class Whole(nn.Module):
        """torch's own layers, in both directions of attention."""

        def __init__(self) -> None:
            super().__init__()
            self.word, self.out = nn.Embedding(30, 24), nn.Linear(24, 30)
            self.encode = nn.TransformerEncoderLayer(24, 4, 36, batch_first=True)
            self.decode = nn.TransformerDecoderLayer(24, 4, 36, batch_first=True, norm_first=True)

        def forward(self, words: Tensor, said: Tensor) -> Tensor:
            return self.out(self.decode(self.word(said), self.encode(self.word(words) * 24**0.5)))

    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator can't be exported
    return exported(Whole, {"words": ids(8), "said": ids(5)}, whole=True)


@network("streaming GRU with caches", groups=1, share=0.53)
def streaming_gru() -> onnx.ModelProto:
    class Denoiser(nn.Module):
        """Convolutions that remember the last frames, a GRU that remembers its state; both come in and go out."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(8, 12, 3), nn.Conv1d(12, 16, 3)
            self.gru, self.out = nn.GRU(16, 14, batch_first=True), nn.Linear(14, 8)

        def forward(self, x: Tensor, near: Tensor, far: Tensor, state: Tensor) -> tuple[Tensor, ...]:
            a = torch.cat([near, x], 2)
            b = torch.cat([far, torch.relu(self.one(a))], 2)
            y, after = self.gru(torch.relu(self.two(b)).transpose(1, 2), state)
            return torch.sigmoid(self.out(y)).transpose(1, 2) * x, a[:, :, -2:], b[:, :, -2:], after

    inputs = {
        "x": torch.randn(2, 8, 5),
        "near": torch.randn(2, 8, 2),
        "far": torch.randn(2, 12, 2),
        "state": torch.randn(1, 2, 14),
    }
    axes = {"x": {0: "batch", 2: "frames"}, "near": {0: "batch"}, "far": {0: "batch"}, "state": {1: "batch"}}
    return exported(Denoiser, inputs, axes=axes, outputs=4)


@network("GRU with a state of zeros", groups=3)
def gru() -> onnx.ModelProto:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.gru = nn.Embedding(30, 12), nn.GRU(12, 10, 2, batch_first=True, bidirectional=True)
            self.out = nn.Linear(20, 5)

        def forward(self, words: Tensor) -> Tensor:
            return self.out(self.gru(self.word(words))[0])

    return exported(Tagger, {"words": ids()}, axes={"words": TOKENS})


@network("LSTM with its state given", groups=3, share=0.63)
def lstm() -> onnx.ModelProto:
    class Voice(nn.Module):
        """A detector of voices: a cell and its state of 12, that stay as they are given."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 14), nn.ReLU())
            self.lstm, self.out = nn.LSTM(14, 12), nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 1))

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            y, (h1, c1) = self.lstm(self.first(x), (h, c))
            return self.out(y).sigmoid(), h1, c1

    inputs = {"x": torch.randn(5, 2, 6), "h": torch.randn(1, 2, 12), "c": torch.randn(1, 2, 12)}
    return exported(Voice, inputs, axes={name: {1: "batch"} for name in inputs}, outputs=3)


@network("ConvLSTM", groups=2, day=True)
def conv_lstm() -> onnx.ModelProto:
    class Cell(nn.Module):
        def __init__(self, a: int, hidden: int) -> None:
            super().__init__()
            self.f, self.hidden = nn.Conv2d(a + hidden, 4 * hidden, 3, padding=1), hidden

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            i, f, o, g = self.f(torch.cat([x, h], 1)).split(self.hidden, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c

    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = Cell(2, 8), Cell(8, 6), nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            n, steps, _, h, w = x.shape
            a = b = x.new_zeros(n, 8, h, w)
            c = d = x.new_zeros(n, 6, h, w)
            for k in range(steps):
                a, b = self.one(x[:, k], a, b)
                c, d = self.two(a, c, d)
            return self.out(c)

    return exported(Forecast, {"x": torch.randn(2, 3, 2, 8, 8)})


@network("Mamba-like scan, step by step", groups=7, stays="folds its channels")
def mamba() -> onnx.ModelProto:
    class Mamba(nn.Module):
        """A state for each channel, driven and damped by what comes."""

        def __init__(self, width: int, inner: int, states: int) -> None:
            super().__init__()
            self.norm, self.first, self.out = (
                Rms(width),
                nn.Linear(width, 2 * inner, False),
                nn.Linear(inner, width, False),
            )
            self.near = nn.Conv1d(inner, inner, 3, padding=2, groups=inner)
            self.parts, self.pace = nn.Linear(inner, 4 + 2 * states, False), nn.Linear(4, inner)
            self.a, self.d, self.states = (
                nn.Parameter(torch.empty(inner, states)),
                nn.Parameter(torch.empty(inner)),
                states,
            )

        def forward(self, x: Tensor) -> Tensor:
            y, gate = self.first(self.norm(x)).chunk(2, -1)
            y = F.silu(self.near(y.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2))
            pace, b, c = self.parts(y).split((4, self.states, self.states), -1)
            pace = F.softplus(self.pace(pace))
            keep = torch.exp(pace[..., None] * -torch.exp(self.a))
            drive = (pace * y)[..., None] * b[:, :, None]
            state, every = torch.zeros_like(drive[:, 0]), []
            for k in range(x.shape[1]):
                state = keep[:, k] * state + drive[:, k]
                every.append((state * c[:, k, None]).sum(-1))
            return x + self.out((torch.stack(every, 1) + y * self.d) * F.silu(gate))

    def make() -> nn.Module:
        return nn.Sequential(nn.Embedding(30, 16), Mamba(16, 24, 5), Mamba(16, 24, 5), Rms(16), nn.Linear(16, 30))

    return exported(make, {"words": ids(5)})
