"""Units that are alike have the same gradients for ever. No transfer makes such twins, but those of the papers."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.ir import load
from chanc.rewriter import TRANSFERS, rewrite
from chanc.rewriter.importance import Evidence
from chanc.testing.graphs import Graph

torch = pytest.importorskip("torch")

from chanc.backends.torch import build  # noqa: E402

TWINS = ("svd", "reflect")
STEPS = 20


def network():
    """A stem, a residual block with norms, a separable convolution and a classifier, all trained a little."""
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(6).bn().relu()
    x = (x + x.conv(6).bn().relu().conv(6).bn()).relu()
    x = x.depthwise().bn().relu().conv(8, 1).relu()
    return graph.ir(x.gap().flatten().gemm(4))


def trained(model):
    """The model after 20 steps of SGD on random images."""
    built = build(model)
    built.module.train()
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(32, 3, 8, 8, generator=generator), torch.arange(32) % 4
    optimizer = torch.optim.SGD(built.module.parameters(), lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(built.module(images), labels).backward()
        optimizer.step()
    built.module.eval()
    built.write_back(model)
    return model


def twins(model) -> dict[str, int]:
    """How many units of each group are another one again, by all weights that make it."""
    analysis = analyze(model)
    evidence, found = Evidence(analysis.model, np.random.default_rng(0)), {}
    for group in analysis.groups:
        if group.resizable:
            units = np.concatenate(list(evidence.makers(group)), axis=1)
            found[group.id] = len(units) - len(np.unique(units, axis=0))
    return found


@pytest.fixture(scope="module")
def start():
    return trained(network())


@pytest.mark.parametrize("scale", [1.5, 2.5])
@pytest.mark.parametrize("transfer", [name for name in TRANSFERS if name not in TWINS])
def test_after_twenty_steps_no_two_units_are_equal(start, transfer: str, scale: float) -> None:
    grown = rewrite(start, scale=scale, transfer=transfer)
    assert not grown.trace.left
    assert len(grown.trace.groups) >= 3
    assert set(twins(trained(load(grown.model))).values()) == {0}


@pytest.mark.parametrize("transfer", TWINS)
def test_those_of_the_papers_never_part(start, transfer: str) -> None:
    """Grown by half, every new unit is a source's twin still after twenty steps, in each group."""
    grown = rewrite(start, scale=1.5, transfer=transfer)
    after = trained(load(grown.model))
    assert twins(after) == {gid: new - old for gid, (old, new) in grown.trace.groups.items()}
