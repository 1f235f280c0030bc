"""Latency between the entries of measured tables: exact where it is bilinear, and its gradient with it."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from chanc.analysis import analyze  # noqa: E402
from chanc.backends.ort.latency import Latency  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.files import Json  # noqa: E402
from chanc.ir.sizes import Sizes  # noqa: E402
from chanc.runs import read_json  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training import latency as tables  # noqa: E402
from chanc.training.latency import Interpolated, Table, measured  # noqa: E402
from chanc.training.masking import Unit, symbols  # noqa: E402

CPU = torch.device("cpu")


def network() -> ir.Model:
    """Convolutions, a depthwise one, one of two groups, a flattened image and matrices."""
    graph = Graph()
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8, stride=2).relu().depthwise().conv(12).relu()
    return graph.ir(x.conv(8, groups=2).flatten().gemm(16).relu().gemm(10))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Latencies that are no more than the weights' elements, microseconds; the measured models are listed."""
    seen: list[int] = []

    def fake(model: object, batch: int = 1, **asked: object) -> Latency:
        if isinstance(model, ir.Model):
            return Latency(1e-6 * 2 * elements(model), 0, 0, "", 1)
        (weight,) = model.graph.initializer
        seen.append(prod(weight.dims))
        return Latency(1e-6 * seen[-1], 0, 0, "", 1)

    monkeypatch.setattr(tables, "latency", fake)
    return seen


def elements(model: ir.Model, widths: Sizes | None = None) -> int:
    """The elements of all weights of convolutions and matrices, at other widths of groups."""
    analysis = analyze(model)
    sizes = analysis.sizes(widths)
    return sum(prod(sizes.input(node, 1)) for node in analysis.model.graph if node.op_type in ("Conv", "Gemm"))


def test_it_is_exact_where_layers_are_bilinear(counted: list[int], tmp_path: Path) -> None:
    """At any widths, with the gradient; a table that was written comes back."""
    model = network()
    analysis = analyze(model)
    units = [Unit(group.id, {group.id: 1.0}, group.size, group.step, 1, 99) for group in analysis.groups
             if group.resizable]  # fmt: skip
    widths = symbols(units)
    measured(analysis, widths, {}).save(tmp_path / "latency.json")
    content: Json = read_json(tmp_path / "latency.json")
    assert isinstance(content, dict)
    table = Table.of(content)
    assert len(table.layers) == 6
    cost = Interpolated(table, analysis, widths, len(units), CPU)
    for factor in (1.0, 1.75, 6.0):
        width = torch.tensor([unit.start * factor for unit in units], dtype=torch.float64, requires_grad=True)
        found = cost(torch.stack([torch.ones_like(width), width], 1))
        real = {unit.name: value for unit, value in zip(units, width, strict=True)}
        expected = 2e-3 * elements(model, real)
        assert found.item() == pytest.approx(expected.item(), rel=1e-9)
        mine, theirs = (torch.autograd.grad(value, width, retain_graph=True)[0] for value in (found, expected))
        assert torch.allclose(mine, theirs, rtol=1e-9)


def test_layers_of_one_kind_are_measured_once(counted: list[int]) -> None:
    graph = Graph()
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8)
    analysis = analyze(graph.ir(x.conv(8).relu().conv(8).relu().conv(8).relu().gap().flatten().gemm(10)))
    units = [Unit(group.id, {group.id: 1.0}, group.size, 1, 1, 99) for group in analysis.groups if group.resizable]
    assert len(measured(analysis, symbols(units), {}).layers) == 5
    assert len(counted) == 3 * len(tables.GRID) ** 2


def test_without_a_layer_it_is_refused() -> None:
    with pytest.raises(ModelError, match="no layer's latency follows"):
        Interpolated(Table(1.0, ()), analyze(network()), {}, 1, CPU)


def test_it_really_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """In onnxruntime, at two widths a side here."""
    monkeypatch.setattr(tables, "GRID", (0.5, 1.0))
    analysis = analyze(network())
    units = [Unit(group.id, {group.id: 1.0}, group.size, 1, 1, 99) for group in analysis.groups if group.resizable]
    table = measured(analysis, symbols(units), {})
    assert table.whole > 0
    assert all(0 < ms < 1000 for layer in table.layers for row in layer.ms for ms in row)
