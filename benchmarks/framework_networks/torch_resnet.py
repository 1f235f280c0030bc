"""A ResNet-14 of PyTorch, as a module and as a program of torch.export."""

from __future__ import annotations

import torch
from torch import nn


def unit(inputs, width, size, stride):
    return nn.Sequential(nn.Conv2d(inputs, width, size, stride, size // 2, bias=False), nn.BatchNorm2d(width))


class Block(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        stride = 1 if inputs == width else 2
        self.body = nn.Sequential(unit(inputs, width, 3, stride), nn.ReLU(), unit(width, width, 3, 1))
        self.short = unit(inputs, width, 1, stride) if inputs != width else nn.Identity()

    def forward(self, x):
        return (self.short(x) + self.body(x)).relu()


def resnet(width=8, classes=10):
    widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
    blocks = [Block(a, b) for a, b in zip([width, *widths], widths, strict=False)]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes)
    return nn.Sequential(unit(1, width, 3, 1), nn.ReLU(), *blocks, *head)


def program():
    batch = torch.export.Dim("batch")
    return torch.export.export(resnet().eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
