"""Both oracles on the networks of the zoo, as both torch exporters write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chanc.testing.oracles import check_shrink, check_widen

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
