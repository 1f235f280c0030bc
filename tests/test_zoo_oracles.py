"""Both oracles on the networks of the zoo, as both torch exporters write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chanc.backends import ort
from chanc.ir import load
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import TRANSFERS, rewrite
from chanc.testing.plans import check_all

pytest.importorskip("torch")

from chanc.frontends import zoo

NAMES = zoo.names()
LARGE = {"darts14", "darts20", "dartsplus14", "dartsplus20"}
DYNAMO = ("resnet18", "mobilenetv3-large", "shufflenetv2")


def shrinks(path: Path, scale: float, **options: int) -> None:
    """The shrink oracle holds, and there was something to change."""
    assert check_shrink(path, scale=scale, **options).operands


def widens(path: Path, scale: float, **options: int) -> None:
    """The widen oracle holds, and there was something to change."""
    assert check_widen(path, scale=scale, **options).operands


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_as_torchscript_writes_it(zoo_model, name: str) -> None:
    path = zoo_model(name, width=24)
    for scale in (0.25, 0.5, 0.75):
        shrinks(path, scale)
    widens(path, 1.5)
    shrinks(path, 0.5, round_to=8)
    widens(path, 1.5, round_to=8)


@pytest.mark.parametrize("name", DYNAMO)
def test_as_dynamo_writes_it(zoo_model, name: str) -> None:
    pytest.importorskip("onnxscript")
    path = zoo_model(name, width=24, exporter="dynamo")
    shrinks(path, 0.5)
    widens(path, 1.5)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_fresh_normalisations_that_share_their_tensors(zoo_model, name: str) -> None:
    path = zoo_model(name, width=24, stir=False)
    shrinks(path, 0.5)
    widens(path, 1.5)


@pytest.mark.parametrize("name", ["googlenet", "shufflenetv2"])
def test_plans_that_give_each_group_a_width_of_its_own(zoo_model, name: str) -> None:
    check_all(zoo_model(name, width=24), seed=1)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("name", ["mobilenetv3-large", "shufflenetv2"])
def test_every_transfer_gives_a_model_that_runs(zoo_model, name: str, transfer: str) -> None:
    path = zoo_model(name, width=24)
    feeds = ort.random_feeds(load(path), seed=0, batch=2)
    for scale in (0.5, 2.3):
        done = rewrite(path, scale=scale, transfer=transfer)
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
