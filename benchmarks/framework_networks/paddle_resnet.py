"""A ResNet-14 of PaddlePaddle."""

from __future__ import annotations

from paddle import nn


def unit(inputs, width, size, stride):
    conv = nn.Conv2D(inputs, width, size, stride, padding=size // 2, bias_attr=False)
    return nn.Sequential(conv, nn.BatchNorm2D(width))


class Block(nn.Layer):
    def __init__(self, inputs, width):
        super().__init__()
        stride = 1 if inputs == width else 2
        self.body = nn.Sequential(unit(inputs, width, 3, stride), nn.ReLU(), unit(width, width, 3, 1))
        self.short = unit(inputs, width, 1, stride) if inputs != width else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.short(x) + self.body(x))


def resnet(width=8, classes=10):
    widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
    blocks = [Block(a, b) for a, b in zip([width, *widths], widths, strict=False)]
    head = nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(4 * width, classes)
    return nn.Sequential(unit(1, width, 3, 1), nn.ReLU(), *blocks, *head)
