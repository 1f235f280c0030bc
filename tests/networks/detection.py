"""Detectors, with what decodes their boxes and picks the best."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from .exporting import conv, exported, image
from .registry import network
from .transformers import Attention, encoder, mlp


class Pyramid(nn.Module):
    """Two levels of a backbone, joined from the top down."""

    def __init__(self, width: int, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.one = nn.Sequential(conv(3, 12, 3, 2, act=act), conv(12, 16, 3, 2, act=act))
        self.two = conv(16, 24, 3, 2, act=act)
        self.left = nn.ModuleList([nn.Conv2d(16, width, 1), nn.Conv2d(24, width, 1)])
        self.out = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.one(x)
        coarse = self.left[1](self.two(fine))
        fine = self.left[0](fine) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return [self.out[0](fine), self.out[1](coarse)]


def _suppressed(model: onnx.ModelProto, boxes: str, scores: str) -> onnx.ModelProto:
    """The model with NonMaxSuppression behind, whose picks are a further output; boxes and scores stay."""
    limits = (("most", np.array([5], np.int64)), ("overlap", np.float32([0.5])), ("least", np.float32([0.05])))
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in limits)
    model.graph.node.append(
        helper.make_node("NonMaxSuppression", [boxes, scores, *(name for name, _ in limits)], ["picked"])
    )
    model.graph.output.append(helper.make_tensor_value_info("picked", TensorProto.INT64, ["n", 3]))
    onnx.checker.check_model(model)
    return model


@network("YOLO with anchors and decoding", groups=16, share=0.93)
def yolo() -> onnx.ModelProto:
    class Cross(nn.Module):
        """A part passes by, a part goes through; then both are joined."""

        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            half = b // 2
            self.one, self.two, self.out = (
                conv(a, half, 1, act=nn.SiLU),
                conv(a, half, 1, act=nn.SiLU),
                conv(b, b, 1, act=nn.SiLU),
            )
            self.f = nn.Sequential(conv(half, half, 1, act=nn.SiLU), conv(half, half, act=nn.SiLU))

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            return self.out(torch.cat([y + self.f(y), self.two(x)], 1))

    class Yolo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), Cross(8, 16))
            self.down = nn.Sequential(conv(16, 24, 3, 2, act=nn.SiLU), Cross(24, 24))
            self.squash, self.pools = conv(24, 12, 1, act=nn.SiLU), nn.MaxPool2d(5, 1, 2)
            self.spread = conv(48, 16, 1, act=nn.SiLU)
            self.up = Cross(32, 16)
            self.heads = nn.ModuleList([nn.Conv2d(16, 21, 1), nn.Conv2d(16, 21, 1)])
            self.register_buffer("fixed_anchors", torch.tensor([[4.0, 6.0], [8.0, 8.0], [10.0, 6.0]]))

        def forward(self, x: Tensor) -> Tensor:
            fine = self.stem(x)
            y = [self.squash(self.down(fine))]
            for _ in range(3):
                y.append(self.pools(y[-1]))
            coarse = self.spread(torch.cat(y, 1))
            fine = self.up(torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1))
            return torch.cat(
                [self.decode(h(v), s) for h, v, s in zip(self.heads, (fine, coarse), (2, 4), strict=True)], 1
            )

        def decode(self, raw: Tensor, stride: int) -> Tensor:
            n, _, h, w = raw.shape
            p = torch.sigmoid(raw.view(n, 3, 7, h, w).permute(0, 1, 3, 4, 2))
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack([columns, rows], -1).float()
            centre = (p[..., 0:2] * 2 - 0.5 + grid) * stride
            size = (p[..., 2:4] * 2) ** 2 * self.fixed_anchors.view(1, 3, 1, 1, 2)
            return torch.cat([centre, size, p[..., 4:]], -1).view(n, -1, 7)

    return exported(Yolo, image(3, 32, 32))


@network("YOLO without anchors, by distributions", groups=7)
def yolo_dfl() -> onnx.ModelProto:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid = Pyramid(16, nn.SiLU)
            self.box = nn.Sequential(conv(16, 12, act=nn.SiLU), nn.Conv2d(12, 32, 1))
            self.kind = nn.Sequential(conv(16, 14, act=nn.SiLU), nn.Conv2d(14, 5, 1))
            self.register_buffer("fixed_bins", torch.arange(8.0).view(1, 8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            levels = [torch.cat([self.box(y), self.kind(y)], 1) for y in self.pyramid(x)]
            flat = torch.cat([y.view(y.shape[0], 37, -1) for y in levels], 2)
            box, kind = flat.split((32, 5), 1)
            n, _, a = box.shape
            spread = box.view(n, 4, 8, a).transpose(2, 1).softmax(1)
            left, right = F.conv2d(spread, self.fixed_bins).view(n, 4, a).chunk(2, 1)
            return torch.cat([(right - left) / 2, left + right, kind.sigmoid()], 1)

    return exported(Head, image(3, 32, 32))


@network("SSD with NonMaxSuppression", groups=3, share=0.94, stays="folds its channels")
def ssd() -> onnx.ModelProto:
    class SSD(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Sequential(conv(3, 12, 3, 2), conv(12, 16, 3, 2)), conv(16, 24, 3, 2)
            self.box = nn.ModuleList([nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(24, 8, 3, padding=1)])
            self.kind = nn.ModuleList([nn.Conv2d(16, 6, 3, padding=1), nn.Conv2d(24, 6, 3, padding=1)])
            self.register_buffer("fixed_priors", torch.rand(1, 160, 4) * 0.5 + 0.2)
            self.scale = nn.Parameter(torch.empty(1, 16, 1, 1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            fine = self.one(x)
            levels = F.normalize(fine) * self.scale, self.two(fine)
            boxes = torch.cat(
                [f(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 4) for f, y in zip(self.box, levels, strict=True)], 1
            )
            kinds = torch.cat(
                [f(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 3) for f, y in zip(self.kind, levels, strict=True)], 1
            )
            p = self.fixed_priors
            centre, size = p[..., :2] + boxes[..., :2] * 0.1 * p[..., 2:], p[..., 2:] * torch.exp(boxes[..., 2:] * 0.2)
            return torch.cat([centre - size / 2, centre + size / 2], -1), kinds.softmax(-1).transpose(1, 2)

    return _suppressed(exported(SSD, image(3, 32, 32), outputs=2), "y", "y1")


@network("RetinaNet", groups=7)
def retinanet() -> onnx.ModelProto:
    class Retina(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid = Pyramid(16)
            self.kind = nn.Sequential(conv(16, 16), nn.Conv2d(16, 18, 3, padding=1))
            self.box = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            levels = self.pyramid(x)
            return self.flat(self.kind, levels, 3).sigmoid(), self.flat(self.box, levels, 4)

        def flat(self, f: nn.Module, levels: list[Tensor], last: int) -> Tensor:
            made = [f(y) for y in levels]
            return torch.cat(
                [
                    y.view(y.shape[0], -1, last, *y.shape[2:]).permute(0, 3, 4, 1, 2).reshape(y.shape[0], -1, last)
                    for y in made
                ],
                1,
            )

    return exported(Retina, image(3, 32, 32), axes={"x": {0: "batch", 2: "h", 3: "w"}}, outputs=2)


@network("FCOS with group norms and the best 20", groups=6)
def fcos() -> onnx.ModelProto:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid = Pyramid(16)
            self.tower = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU())
            self.kind, self.box, self.centre = nn.Conv2d(16, 3, 1), nn.Conv2d(16, 4, 1), nn.Conv2d(16, 1, 1)
            self.scales = nn.ParameterList([torch.empty(1), torch.empty(1)])

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            scores, boxes = [], []
            for y, scale in zip(self.pyramid(x), self.scales, strict=True):
                t = self.tower(y)
                scores.append((self.kind(t).sigmoid() * self.centre(t).sigmoid()).flatten(2))
                boxes.append(torch.exp((self.box(t) * scale).clamp(max=3)).flatten(2))
            score, box = torch.cat(scores, 2), torch.cat(boxes, 2)
            best, where = score.max(1)[0].topk(20, 1)
            return best, box.gather(2, where[:, None].expand(-1, 4, -1))

    return exported(Head, image(3, 32, 32), outputs=2)


@network("DETR", groups=10)
def detr() -> onnx.ModelProto:
    class Decoder(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.own, self.cross = Attention(width, 4, joined=False), Attention(width, 4, joined=False)
            self.f, self.norms = mlp(width, 32, nn.ReLU), nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

        def forward(self, x: Tensor, queries: Tensor, memory: Tensor) -> Tensor:
            x = self.norms[0](x + self.own(x + queries, x))
            x = self.norms[1](x + self.cross(x + queries, memory))
            return self.norms[2](x + self.f(x))

    class Detr(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(3, 12, 3, 2), conv(12, 16, 3, 2), nn.Conv2d(16, 24, 1))
            self.places, self.queries = nn.Parameter(torch.empty(1, 64, 24)), nn.Parameter(torch.empty(1, 6, 24))
            self.encode, self.decode = encoder(24, 4, 32, joined=False), Decoder(24)
            self.kind = nn.Linear(24, 5)
            self.box = nn.Sequential(nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            memory = self.encode(self.body(x).flatten(2).transpose(1, 2) + self.places)
            queries = self.queries.expand(x.shape[0], -1, -1)
            y = self.decode(torch.zeros_like(queries), queries, memory)
            return self.kind(y), self.box(y).sigmoid()

    return exported(Detr, image(3, 32, 32), outputs=2)
