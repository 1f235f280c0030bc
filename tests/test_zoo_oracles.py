"""Both oracles on the networks of the zoo, as both torch exporters write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from chanc.backends import ort
from chanc.ir import load
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import TRANSFERS, rewrite
from chanc.testing import blocks
from chanc.testing.graphs import Graph
from chanc.testing.plans import check_all
from chanc.testing.skeletons import open_model

pytest.importorskip("torch")

from chanc.frontends import zoo

NAMES = [*zoo.names(), "cnas:cells=3,nodes=2,ops=1"]
# Deeper ones of the same blocks: by night only.
DEEPER = {"resnet34", "darts7", "darts14", "darts20", "dartsplus7", "dartsplus14", "dartsplus20", "densenet-bc",
          "efficientnet-b0", "mobilenetv2", "vgg11", "flexcharts20", "wrn22-1", "wrn22-2", "wrn22-4", "cnas",
          "cnas-densenet", "cnas:cells=3,nodes=2,ops=1"}  # fmt: skip
"""Tested at night: by day their kinds are told by smaller ones, and by the shared models."""
BY_DYNAMO = {"shufflenetv2", "mobilenetv3-large"}
"""Whose file of the other exporter is tested by day: this one is at night."""
# What dynamo, which takes seconds, wrote of networks of width 24.
SKELETONS = sorted((Path(__file__).parent / "skeletons").iterdir())


def shrinks(model: Path | onnx.ModelProto, scale: float, **options: int) -> None:
    """The shrink oracle holds, and there was something to change."""
    assert check_shrink(model, scale=scale, **options).operands


def widens(model: Path | onnx.ModelProto, scale: float, **options: int) -> None:
    """The widen oracle holds, and there was something to change."""
    assert check_widen(model, scale=scale, **options).operands


def shuffled() -> onnx.ModelProto:
    """What ShuffleNet is about: half of the channels pass by, and the next unit cuts shuffled ones in halves."""
    graph = Graph()
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "batch"}).conv(24, bias=False).bn().relu()
    for _ in range(2):
        passed, changed = x.split(12, 12)
        changed = changed.conv(12, 1, bias=False).bn().relu().depthwise().bn().conv(12, 1).bn().relu()
        x = blocks.shuffle(passed.concat(changed), 2)
    return graph.model(x.conv(24, 1).relu().gap().flatten().gemm(10))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DEEPER | BY_DYNAMO])
def test_as_torchscript_writes_it(zoo_model, name: str) -> None:
    """One width of either direction, one of them rounded: by night all are tried, below."""
    path = zoo_model(name, width=24)
    shrinks(path, 0.5, round_to=8)
    widens(path, 1.5)


@pytest.mark.parametrize("scale", [*(pytest.param(scale, marks=pytest.mark.nightly) for scale in (0.25, 0.5)), 0.75])
@pytest.mark.parametrize("name", ["resnet18", pytest.param("mobilenetv3-large", marks=pytest.mark.nightly)])
def test_every_scale(zoo_model, name: str, scale: float) -> None:
    path = zoo_model(name, width=24)
    shrinks(path, scale)
    widens(path, 1 + scale, round_to=8)


@pytest.mark.parametrize("path", SKELETONS, ids=lambda path: path.name)
def test_as_dynamo_writes_it(path: Path) -> None:
    model = open_model(path)
    shrinks(model, 0.5)
    widens(model, 1.5)


@pytest.mark.nightly
@pytest.mark.parametrize("path", SKELETONS, ids=lambda path: path.name)
def test_skeletons_are_what_dynamo_writes_today(zoo_model, path: Path) -> None:
    """Where not: `path.write_bytes(chanc.testing.skeletons.skeleton(fresh))`."""
    pytest.importorskip("onnxscript")
    fresh = onnx.load(zoo_model(path.name.removesuffix(".onnx.gz"), width=24, exporter="dynamo"))
    kept = open_model(path)
    assert [(n.op_type, n.input, n.output, n.attribute) for n in kept.graph.node] == [
        (n.op_type, n.input, n.output, n.attribute) for n in fresh.graph.node
    ]
    assert {t.name: t.dims for t in kept.graph.initializer} == {t.name: t.dims for t in fresh.graph.initializer}


@pytest.mark.parametrize("name", ["resnet18", pytest.param("googlenet", marks=pytest.mark.nightly)])
def test_fresh_normalisations_that_share_their_tensors(zoo_model, name: str) -> None:
    path = zoo_model(name, width=24, stir=False)
    shrinks(path, 0.5)
    widens(path, 1.5)


@pytest.mark.parametrize("name", [pytest.param("googlenet", marks=pytest.mark.nightly), "shuffled"])
def test_plans_that_give_each_group_a_width_of_its_own(zoo_model, name: str) -> None:
    check_all(shuffled() if name == "shuffled" else zoo_model(name, width=24), seed=1)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("name", [pytest.param("mobilenetv3-large", marks=pytest.mark.nightly), "shuffled"])
def test_every_transfer_gives_a_model_that_runs(zoo_model, name: str, transfer: str) -> None:
    model = load(shuffled() if name == "shuffled" else zoo_model(name, width=24))
    feeds = ort.random_feeds(model, seed=0, batch=2)
    for scale in (0.5, 2.3):
        done = rewrite(model, scale=scale, transfer=transfer)
        (logits,) = ort.run(done.model, feeds)
        assert logits.shape == (2, 10)
        assert np.isfinite(logits).all()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_random_plans_of_every_network(zoo_model, name: str, seed: int) -> None:
    check_all(zoo_model(name, width=24), seed=seed)


@pytest.mark.nightly
@pytest.mark.parametrize("stir", [True, False], ids=["stirred", "fresh"])
@pytest.mark.parametrize("width", [None, 24])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NAMES)
def test_every_network(zoo_model, name: str, exporter: str, width: int | None, stir: bool) -> None:
    path = zoo_model(name, width=width, exporter=exporter, stir=stir)
    for round_to in (1, 8):
        for scale in (0.25, 0.5, 0.75, 1.5):
            shrinks(path, scale, round_to=round_to)
        for scale in (1.5, 2.0):
            widens(path, scale, round_to=round_to)
