"""A ResNet-14 of Equinox, with the state of its norms."""

from __future__ import annotations

import equinox as eqx
import jax


class Unit(eqx.Module):
    conv: eqx.nn.Conv2d
    bn: eqx.nn.BatchNorm

    def __init__(self, inputs, width, size, stride, key):
        self.conv = eqx.nn.Conv2d(inputs, width, size, stride, padding=size // 2, use_bias=False, key=key)
        self.bn = eqx.nn.BatchNorm(width, axis_name="batch", mode="batch")

    def __call__(self, x, state):
        return self.bn(self.conv(x), state)


class Block(eqx.Module):
    first: Unit
    second: Unit
    short: Unit | None

    def __init__(self, inputs, width, key):
        one, two, three = jax.random.split(key, 3)
        stride = 1 if inputs == width else 2
        self.first = Unit(inputs, width, 3, stride, one)
        self.second = Unit(width, width, 3, 1, two)
        self.short = Unit(inputs, width, 1, stride, three) if inputs != width else None

    def __call__(self, x, state):
        y, state = self.first(x, state)
        y, state = self.second(jax.nn.relu(y), state)
        if self.short is not None:
            x, state = self.short(x, state)
        return jax.nn.relu(x + y), state


class ResNet(eqx.Module):
    stem: Unit
    blocks: list[Block]
    head: eqx.nn.Linear

    def __init__(self, width, classes, key):
        keys = jax.random.split(key, 8)
        widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
        self.stem = Unit(1, width, 3, 1, keys[0])
        self.blocks = [Block(a, b, k) for a, b, k in zip([width, *widths], widths, keys[1:7], strict=False)]
        self.head = eqx.nn.Linear(4 * width, classes, key=keys[7])

    def __call__(self, x, state):
        x, state = self.stem(x, state)
        x = jax.nn.relu(x)
        for block in self.blocks:
            x, state = block(x, state)
        return self.head(x.mean((1, 2))), state


def resnet(width=8, classes=10):
    return eqx.nn.make_with_state(ResNet)(width, classes, jax.random.PRNGKey(0))
