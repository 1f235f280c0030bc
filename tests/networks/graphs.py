"""Points, graphs, skeletons, and pictures that are looked for in others."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import conv, exported
from .registry import network


class Skeleton(nn.Module):
    """ST-GCN's block: channels for three kinds of bones, summed along the graph, then along time."""

    def __init__(self, a: int, b: int, einsum: bool) -> None:
        super().__init__()
        self.f, self.einsum, self.out = nn.Conv2d(a, 3 * b, 1), einsum, b
        self.time = nn.Sequential(
            nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, (5, 1), padding=(2, 0)), nn.BatchNorm2d(b)
        )
        self.skip = conv(a, b, 1, act=None)
        self.register_buffer("bones", torch.empty(3, 6, 6))
        self.strength = nn.Parameter(torch.empty(3, 6, 6))

    def forward(self, x: Tensor) -> Tensor:
        n, _, t, v = x.shape
        y, bones = self.f(x).view(n, 3, self.out, t, v), self.bones * self.strength
        y = torch.einsum("nkctv,kvw->nctw", y, bones) if self.einsum else (y @ bones[None, :, None]).sum(1)
        return torch.relu(self.time(y) + self.skip(x))


def _skeleton(einsum: bool) -> onnx.ModelProto:
    def make() -> nn.Module:
        last = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 5, 1), nn.Flatten()]
        return nn.Sequential(Skeleton(3, 12, einsum), Skeleton(12, 16, einsum), *last)

    return exported(make, {"x": torch.randn(2, 3, 8, 6)})


@network("ST-GCN by einsum", groups=4, share=0.93)
def stgcn_einsum() -> onnx.ModelProto:
    return _skeleton(True)


@network("ST-GCN by matmul", groups=4, share=0.93)
def stgcn_matmul() -> onnx.ModelProto:
    return _skeleton(False)


@network("GCN", groups=3, share=0.98)
def gcn() -> onnx.ModelProto:
    class Gcn(nn.Module):
        """The graph comes in: neighbours are summed, and normed by how many there are."""

        def __init__(self) -> None:
            super().__init__()
            self.f = nn.ModuleList([nn.Linear(5, 16), nn.Linear(16, 12), nn.Linear(12, 12)])
            self.out = nn.Linear(12, 3)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            whole = edges + torch.eye(edges.shape[-1])
            root = whole.sum(-1).clamp(min=1e-3).rsqrt()
            whole = root[..., None] * whole * root[..., None, :]
            for f in self.f:
                x = torch.relu(whole @ f(x))
            return self.out(x.max(1)[0])

    return exported(Gcn, {"x": torch.randn(2, 7, 5), "edges": torch.rand(2, 7, 7)})


@network("graph attention by lists of edges", groups=1, share=0.74)
def gat() -> onnx.ModelProto:
    class Messages(nn.Module):
        """Each edge sends what its start knows; ends add up what comes in."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.say, self.keep = nn.Linear(5, 16), nn.Linear(32, 14), nn.Linear(16, 14)
            self.out = nn.Linear(14, 3)

        def forward(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
            y = torch.relu(self.first(x))
            sent = torch.relu(self.say(torch.cat([y[start], y[end]], -1)))
            into = torch.zeros(y.shape[0], 14).index_add(0, end, sent)
            return self.out(torch.relu(self.keep(y) + into))

    lists = {"start": torch.randint(0, 7, (11,)), "end": torch.randint(0, 7, (11,))}
    return exported(Messages, {"x": torch.randn(7, 5), **lists}, axes={"start": {0: "edges"}, "end": {0: "edges"}})


@network("PointNet", groups=6, share=0.98)
def pointnet() -> onnx.ModelProto:
    class Turn(nn.Module):
        """A matrix made of the points turns them."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.f = nn.Sequential(
                nn.Conv1d(width, 12, 1), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 16, 1), nn.ReLU()
            )
            self.out, self.width = nn.Sequential(nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, width * width)), width

        def forward(self, x: Tensor) -> Tensor:
            turn = self.out(self.f(x).max(2)[0]).view(-1, self.width, self.width) + torch.eye(self.width)
            return torch.bmm(x.transpose(1, 2), turn).transpose(1, 2)

    class PointNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn, self.one = Turn(3), nn.Sequential(nn.Conv1d(3, 14, 1), nn.BatchNorm1d(14), nn.ReLU())
            self.two = nn.Sequential(nn.Conv1d(14, 20, 1), nn.BatchNorm1d(20), nn.ReLU())
            self.out = nn.Sequential(nn.Conv1d(34, 12, 1), nn.ReLU(), nn.Conv1d(12, 4, 1))

        def forward(self, x: Tensor) -> Tensor:
            near = self.one(self.turn(x))
            whole = self.two(near).max(2, keepdim=True)[0].expand(-1, -1, x.shape[2])
            return self.out(torch.cat([near, whole], 1))

    return exported(PointNet, {"x": torch.randn(2, 3, 12)}, axes={"x": {0: "batch", 2: "points"}})


@network("tracker that shares its eyes", groups=2)
def siamese() -> onnx.ModelProto:
    class Tracker(nn.Module):
        """SiamRPN: the small picture's features are a kernel, channel by channel, for those of the large one."""

        def __init__(self) -> None:
            super().__init__()
            self.eyes = nn.Sequential(conv(3, 12, 3, 2), conv(12, 16))
            self.out = nn.Sequential(nn.Conv2d(16, 14, 1), nn.ReLU(), nn.Conv2d(14, 5, 1))

        def forward(self, small: Tensor, large: Tensor) -> Tensor:
            a, b = self.eyes(small), self.eyes(large)
            n, c, h, w = a.shape
            y = F.conv2d(b.reshape(1, n * c, *b.shape[2:]), a.reshape(n * c, 1, h, w), groups=n * c)
            return self.out(y.reshape(n, c, *y.shape[2:]))

    inputs = {"small": torch.randn(2, 3, 8, 8), "large": torch.randn(2, 3, 16, 16)}
    return exported(Tracker, inputs, axes={})


@network("stereo by correlation", groups=5, stays="summed over in a product")
def stereo() -> onnx.ModelProto:
    class Stereo(nn.Module):
        """RAFT: all pairs of places along a row, scaled by the width, read by a network."""

        def __init__(self) -> None:
            super().__init__()
            self.eyes = nn.Sequential(conv(3, 12, 3, 2), nn.Conv2d(12, 16, 3, padding=1))
            self.context = nn.Sequential(conv(3, 10, 3, 2), conv(10, 8))
            self.out = nn.Sequential(conv(16, 14), nn.Conv2d(14, 1, 3, padding=1))

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            a, b = self.eyes(left), self.eyes(right)
            pairs = torch.einsum("nchi,nchj->nhij", a, b) / 16**0.5
            return self.out(torch.cat([pairs.permute(0, 3, 1, 2), self.context(left)], 1))

    inputs = {"left": torch.randn(2, 3, 16, 16), "right": torch.randn(2, 3, 16, 16)}
    return exported(Stereo, inputs)


@network("two towers and a cosine", groups=4, stays="folds its channels")
def towers() -> onnx.ModelProto:
    class Towers(nn.Module):
        """Pictures and words meet in one space, each normed to length one."""

        def __init__(self) -> None:
            super().__init__()
            self.see = nn.Sequential(
                conv(3, 12, 3, 2), conv(12, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
            )
            self.word, self.read = nn.EmbeddingBag(30, 14), nn.Sequential(nn.ReLU(), nn.Linear(14, 10))
            self.heat = nn.Parameter(torch.empty(()))

        def forward(self, x: Tensor, words: Tensor) -> Tensor:
            a = F.normalize(self.see(x), dim=-1)
            b = F.normalize(self.read(self.word.weight[words].mean(1)), dim=-1)
            return self.heat.exp() * a @ b.t()

    return exported(
        Towers,
        {"x": torch.randn(2, 3, 16, 16), "words": torch.randint(0, 30, (3, 4))},
        axes={"x": {0: "images"}, "words": {0: "texts"}},
    )


@network("recommender by tables and crossings", groups=4, stays="summed over in a product")
def recommender() -> onnx.ModelProto:
    class Wide(nn.Module):
        """DLRM: tables, dot products of all pairs, what is above the diagonal, a network."""

        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(9, 8) for _ in range(3)])
            self.low = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
            self.top = nn.Sequential(nn.Linear(14, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 1))

        def forward(self, x: Tensor, ids: Tensor) -> Tensor:
            low = self.low(x)
            every = torch.stack([low, *(table(ids[:, k]) for k, table in enumerate(self.tables))], 1)
            pairs = torch.bmm(every, every.transpose(1, 2)).flatten(1)[:, [1, 2, 3, 6, 7, 11]]
            return self.top(torch.cat([low, pairs], 1)).sigmoid()

    return exported(Wide, {"x": torch.randn(2, 5), "ids": torch.randint(0, 9, (2, 3))})
