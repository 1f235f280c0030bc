"""A binary mask is the narrowed network: outputs in both modes, gradients, and twenty steps of the optimizer.

In double precision; what is masked is narrowed afterwards and compared with what was narrowed first, tensor by tensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from chanc.analysis import analyze  # noqa: E402
from chanc.backends.torch.resize import resize_module  # noqa: E402
from chanc.ir import load  # noqa: E402
from chanc.rewriter import rewrite  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing import blocks  # noqa: E402
from chanc.testing.graphs import Graph, Tensor  # noqa: E402
from chanc.training.masks import Masks  # noqa: E402
from chanc.training.module import Trainable, trainable  # noqa: E402

TASK = Classification()
SGD = {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}
STEPS = 20


def mixed(stem: int = 8) -> ir.Model:
    """A residual, squeezed and excited, a join under one norm, a depthwise convolution, a flattened image."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(stem, stride=2).bn().relu()
    x = blocks.squeeze_excite((x + x.conv(6).bn().relu().conv(stem).bn()).relu(), 4)
    x = x.concat(x.conv(4).bn().relu()).bn().relu().conv(12, 1).bn().sigmoid().depthwise().bn()
    return graph.ir(x.pool().flatten().gemm(6).relu().gemm(10))


def last() -> ir.Model:
    """As Keras exports: images come and go channels last."""
    graph = Graph(scale=0.7)

    def conv(x: Tensor, width: int) -> Tensor:
        return blocks.channels_last(blocks.channels_first(x).conv(width, bias=False).bn().relu())

    x = conv(graph.input("image", [2, 8, 8, 3], dynamic={0: "n"}), 8)
    x = x + conv(conv(x, 6), 8)
    return graph.ir(x.mean(1, 2, keep=False).gemm(10))


def convnext() -> ir.Model:
    """Blocks with a norm across the stream's channels, which is fixed, and none across those of the wide layers."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 3, 16, 16], dynamic={0: "n"}).conv(8, 4, stride=4)
    for _ in range(2):
        y = blocks.layer_norm(blocks.channels_last(x.depthwise(7)))
        x = x + blocks.channels_first(blocks.mlp(y, 16))
    return graph.ir(blocks.layer_norm(x.gap().flatten()).gemm(10))


def half(masks: Masks) -> dict[str, int]:
    """Half of each group, at least a unit: the units that stay."""
    return {name: max(group.units.size // 2, 1) for name, group in masks.groups.items()}


def in_doubles(model: ir.Model) -> tuple[Trainable, Masks]:
    net = trainable(model, TASK)
    net.module.double()
    return net, Masks(analyze(net.graph, fold=False), net)


def masked(net: Trainable, masks: Masks) -> Trainable:
    """All but the first half of each group's units masked by a 0; the factors are 1, 1, 0."""
    masks.factors = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    units = {name: np.arange(group.units.size) for name, group in masks.groups.items()}
    slots = {name: np.where(units[name] < kept, 1, 2) for name, kept in half(masks).items()}
    masks.place(slots, torch.device("cpu"))
    return net.through(masks.run)


def narrowed(net: Trainable, masks: Masks, optimizer: object = None) -> Trainable:
    """The first half of each group, in place."""
    plan = {name: {"first": kept * masks.groups[name].step} for name, kept in half(masks).items()}
    done = rewrite(net.graph, plan, transfer="select", fold=False)
    built = resize_module(net.built, net.graph, done, optimizer=optimizer)
    return dataclasses.replace(net, built=built, graph=done.model, run=None)


def batch(net: Trainable, number: int) -> tuple[dict[str, object], object]:
    generator = torch.Generator().manual_seed(number)
    shape = [4, *list(net.graph.graph.inputs[0].shape)[1:]]
    images = torch.randn(shape, dtype=torch.float64, generator=generator)
    return {net.inputs[0]: images}, torch.randint(0, 10, (4,), generator=generator)


def logits(net: Trainable, number: int = 99) -> torch.Tensor:
    return next(iter(net.forward(batch(net, number)[0]).values()))


def loss_of(net: Trainable, number: int) -> torch.Tensor:
    return F.cross_entropy(logits(net, number), batch(net, number)[1])


def train(net: Trainable, steps: int = STEPS) -> torch.optim.SGD:
    net.module.train()
    optimizer = torch.optim.SGD(net.module.parameters(), **SGD)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(net, step).backward()
        torch.nn.utils.clip_grad_norm_(net.module.parameters(), 0.5)
        optimizer.step()
    return optimizer


def close(one: torch.Tensor, other: torch.Tensor, what: str) -> None:
    assert one.shape == other.shape, what
    assert torch.allclose(one.double(), other.double(), rtol=1e-10, atol=1e-10), what


def agree(model: ir.Model) -> Masks:
    """The oracle, on one network; returns its masks."""
    (net, masks), (other, others) = in_doubles(model), in_doubles(model)
    assert half(masks)
    net, other = masked(net, masks), narrowed(other, others)
    for mode in (False, True):
        net.module.train(mode)
        other.module.train(mode)
        close(logits(net), logits(other), f"train {mode}")
    for one in (net, other):
        one.module.zero_grad()
        loss_of(one, 7).backward()
    gradients = gradients_of(net, masks, model)
    for key, parameter in other.module.named_parameters():
        close(gradients[key], parameter.grad, f"gradient of {key}")
    mine, theirs = train(net), train(other)
    net = narrowed(net, masks, mine)
    state = other.module.state_dict()
    assert net.module.state_dict().keys() == state.keys()
    for key, value in net.module.state_dict().items():
        close(value, state[key], key)
    for key, value in zip(mine.state.values(), theirs.state.values(), strict=True):
        close(key["momentum_buffer"], value["momentum_buffer"], "momentum")
    return masks


def gradients_of(net: Trainable, masks: Masks, model: ir.Model) -> dict[str, torch.Tensor]:
    """The gradients' slices that stay: those of a network whose parameters they are."""
    twin, others = in_doubles(model)
    live = dict(net.module.named_parameters())
    with torch.no_grad():
        for key, parameter in twin.module.named_parameters():
            parameter.copy_(live[key].grad if live[key].grad is not None else torch.zeros_like(parameter))
    return dict(narrowed(twin, others).module.named_parameters())


def test_a_binary_mask_is_the_narrowed_network() -> None:
    masks = agree(mixed())
    assert not masks.reasons
    assert len(masks.groups) == 6


def test_channels_last_as_well() -> None:
    masks = agree(last())
    assert not masks.reasons
    assert len(masks.groups) == 2


def test_norms_across_channels_fix_their_groups() -> None:
    """With the reason, and the others are masked."""
    masks = agree(convnext())
    assert len(masks.groups) == 2
    assert set(masks.reasons.values()) == {"masking is no removal there: a normalisation across channels"}


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "width", "groups"), [
    ("resnet18", 8, 12), ("mobilenetv2", 8, 25), ("densenet-bc", 4, 90), ("darts7", 8, 30),
])  # fmt: skip
def test_whole_networks(zoo_model: Callable[..., Path], name: str, width: int, groups: int) -> None:
    masks = agree(load(zoo_model(name, width=width)))
    assert len(masks.groups) >= groups
    assert not masks.reasons
