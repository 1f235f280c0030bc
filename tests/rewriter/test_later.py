from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import chanc
from chanc.ir.external import MappedTensor
from chanc.oracles import judge
from chanc.rewriter.later import LARGE
from chanc.testing.graphs import Graph


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, Path]:
    """Two layers around a weight that is worth waiting with: the model in memory, and with external data."""
    graph = Graph()
    x = graph.input("x", [1, 4, 1, 1]).conv(512, 1).relu().conv(LARGE // 4 // 512, 1).relu()
    proto = graph.model(x.conv(4, 1))
    path = tmp_path_factory.mktemp("mapped") / "m.onnx"
    onnx.save(copy.deepcopy(proto), path, save_as_external_data=True, location="m.data", size_threshold=0)
    return proto, path


def weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    return {name: value.const_value for name, value in model.graph.initializers.items() if value.const_value}


def test_a_large_weight_that_only_loses_units_is_cut_when_it_is_asked_for(
    mapped: tuple[onnx.ModelProto, Path], tmp_path: Path
) -> None:
    proto, path = mapped
    found = chanc.rewrite(path, scale=0.5).model
    expected = weights(chanc.load(chanc.rewrite(proto, scale=0.5).model))
    waiting = [tensor for tensor in weights(found).values() if isinstance(tensor, ir.LazyTensor)]
    assert [list(tensor.shape.numpy()) for tensor in waiting] == [[256, 256, 1, 1]]
    chanc.save(found, tmp_path / "half.onnx")
    for model in (found, chanc.load(tmp_path / "half.onnx")):
        for name, tensor in weights(model).items():
            np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())


def test_what_waits_is_cut_once_for_the_check_and_for_saving(
    mapped: tuple[onnx.ModelProto, Path], tmp_path: Path
) -> None:
    model = chanc.load(mapped[1])
    made = chanc.rewrite(model, scale=0.5)
    (tmp_path / "judged").mkdir()
    chanc.save(made.model, tmp_path / "half.onnx")
    assert judge(model, made.model, trace=made.trace).agrees
    assert not any(isinstance(tensor, ir.LazyTensor) for tensor in weights(made.model).values())
    chanc.save(made.model, tmp_path / "judged" / "half.onnx")
    for name in ("half.onnx", "half.onnx.data"):
        assert (tmp_path / "judged" / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("transfer", ["grow", "widen"])
def test_a_large_weight_that_gains_units_is_made_when_it_is_asked_for_and_the_same_each_time(
    mapped: tuple[onnx.ModelProto, Path], transfer: str
) -> None:
    proto, path = mapped
    found, expected = (chanc.rewrite(source, scale=1.25, transfer=transfer).model for source in (path, proto))
    kept = weights(chanc.load(expected))
    waiting = [tensor for tensor in weights(found).values() if isinstance(tensor, ir.LazyTensor)]
    assert [list(tensor.shape.numpy()) for tensor in waiting] == [[640, 640, 1, 1]]
    for name, tensor in [*weights(found).items()] * 2:
        np.testing.assert_array_equal(tensor.numpy(), kept[name].numpy())


def test_pages_go_when_a_unit_was_judged(mapped: tuple[onnx.ModelProto, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    released: set[str | None] = set()
    monkeypatch.setattr(MappedTensor, "release", lambda self: released.add(self.name))
    chanc.rewrite(mapped[1], scale=1.25)
    kernels = {name for name, tensor in weights(chanc.load(mapped[1])).items() if len(tensor.shape) == 4}
    assert kernels <= released
