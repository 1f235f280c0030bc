"""The layers of a model: what each makes and costs."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from chanc.analysis import analyze
from chanc.analysis.layers import layers
from chanc.cli.analyze import command
from chanc.testing.builders import build
from chanc.testing.graphs import Graph


def test_every_layer_has_its_shape_and_its_cost() -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [1, 3, 8, 8], dynamic={0: "n"}).conv(16, bias=False).bn().relu()
    x = x.depthwise(stride=2).op("GlobalAveragePool").flatten().gemm(10)
    analysis = analyze(graph.ir(x))
    found = layers(analysis)
    assert [(one.op, one.shape, one.params, one.macs) for one in found] == [
        ("Conv", (1, 16, 8, 8), 16 * 27, 16 * 27 * 64),
        ("BatchNormalization", (1, 16, 8, 8), 32, 0),
        ("Conv", (1, 16, 4, 4), 16 * 9 + 16, 16 * 9 * 16),
        ("Gemm", (1, 10), 170, 160),
    ]
    assert all(one.counted for one in found)
    assert sum(one.params for one in found) == analysis.params
    assert sum(one.macs for one in found) == analysis.macs
    assert [one.output for one in found] == [one.name for one in found]  # nodes are called as their outputs here


def test_what_is_not_known_is_said_so() -> None:
    body = "a = Conv(x, w)\nu = strange.Thing(a)\ny = Conv(u, v)"
    model = build("float[1,3,4,4] x", "float y", body, {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1)}, domains=["strange"])
    found = {one.op: one for one in layers(analyze(model))}
    assert not found["Thing"].counted
    assert found["Thing"].shape is None


@pytest.mark.parametrize("size", [8, 16])
def test_open_axes_have_the_sizes_that_are_given(size: int) -> None:
    graph = Graph(seed=0)
    model = graph.ir(graph.input("image", [1, 3, 8, 8], dynamic={0: "n", 2: "h", 3: "w"}).conv(4))
    (conv,) = layers(analyze(model, dims={"h": size, "w": size}))
    assert conv.shape == (1, 4, size, size)
    assert conv.macs == 4 * 27 * size * size


def test_the_command_prints_them_and_writes_them(tmp_path: Path) -> None:
    graph = Graph(seed=0)
    model = graph.model(graph.input("image", [1, 3, 8, 8]).conv(4).relu().gap().flatten().gemm(2))
    onnx.save(model, tmp_path / "net.onnx")
    shown = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), "--layers", "--json", str(tmp_path / "net.json")])
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.output.splitlines()]
    (conv,) = (row for row in rows if row[:1] == ["Conv"])
    assert conv[2:] == ["1", "4", "8", "8", "112", "91.8", "6,912", "99.9"]
    written = json.loads((tmp_path / "net.json").read_text())["layers"]
    assert [(one["op"], one["params"], one["macs"], one["shape"]) for one in written] == [
        ("Conv", 112, 6912, [1, 4, 8, 8]), ("Gemm", 10, 8, [1, 2])]  # fmt: skip
    plain = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), "--json", "-"])
    assert "layers" not in json.loads(plain.output)
