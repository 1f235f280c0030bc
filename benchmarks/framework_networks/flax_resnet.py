"""A ResNet-14 of Flax NNX."""

from __future__ import annotations

from flax import nnx


class Block(nnx.Module):
    def __init__(self, inputs, width, stride, rngs):
        self.conv1 = nnx.Conv(inputs, width, (3, 3), strides=stride, use_bias=False, rngs=rngs)
        self.bn1 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.bn2 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        short = nnx.Conv(inputs, width, (1, 1), strides=stride, use_bias=False, rngs=rngs)
        same = stride == 1 and inputs == width
        self.short = None if same else nnx.Sequential(short, nnx.BatchNorm(width, momentum=0.9, rngs=rngs))

    def __call__(self, x):
        y = self.bn2(self.conv2(nnx.relu(self.bn1(self.conv1(x)))))
        return nnx.relu(y + (x if self.short is None else self.short(x)))


class ResNet(nnx.Module):
    def __init__(self, width=8, classes=10):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(1, width, (3, 3), use_bias=False, rngs=rngs)
        self.bn = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
        pairs = zip([width, *widths], widths, strict=False)
        self.blocks = nnx.List([Block(a, b, 1 if a == b else 2, rngs) for a, b in pairs])
        self.head = nnx.Linear(4 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))
