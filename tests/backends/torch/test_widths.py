"""The table of widths behind a Flatten: the columns are a multiple of the entry, and changing it changes them."""

from __future__ import annotations

import re

import pytest

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import emit
from chanc.frontends.torch import export
from chanc.ir import load
from chanc.ir.normalize import normalize

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


def source(module: nn.Module, tmp_path, size: int = 8) -> str:
    path = tmp_path / "net.onnx"
    export(module.eval(), (torch.zeros(2, 3, size, size),), path)
    model = load(path)
    normalize(model)
    infer_shapes(model)
    return emit(model, "Net").text


def with_every_width_changed(text: str, size: int = 8) -> None:
    """The network runs with each entry of the table doubled, one after the other."""
    head, table, rest = re.split(r"(?ms)^(WIDTHS = \{\n.*?^\}\n)", text)
    for name, width in re.findall(r'    "(.*?)": (\d+),\n', table):
        changed = table.replace(f'"{name}": {width},', f'"{name}": {2 * int(width)},')
        namespace: dict[str, object] = {"__name__": "changed"}
        exec(head + changed + rest, namespace)
        with torch.no_grad():
            namespace["Net"]().eval()(torch.zeros(2, 3, size, size))


def test_the_layer_behind_a_flatten(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 7), nn.ReLU(), nn.Linear(7, 2))
    text = source(module, tmp_path)
    assert re.search(r'nn\.Linear\(WIDTHS\["\w+"\] \* 36, WIDTHS', text), text
    assert text.count("WIDTHS[") == 4
    with_every_width_changed(text)


def test_normalised_columns(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(180), nn.Linear(180, 7)
    )
    text = source(module, tmp_path)
    assert " * 36" in text, text
    with_every_width_changed(text)


class Meeting(nn.Module):
    """Columns of two convolutions are added, or those of one are added to something of their own size."""

    def __init__(self, other: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.inner, self.last = nn.Linear(144, 144), nn.Linear(144, 2)
        self.other = other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x).flatten(1)
        return self.last(y + (self.b(x).flatten(1) if self.other else self.inner(y)))


@pytest.mark.parametrize("other", [True, False])
def test_columns_that_meet_others(tmp_path, other):
    text = source(Meeting(other), tmp_path)
    if other:
        assert "WIDTHS" not in text, text
    else:
        assert text.count(" * 36") == 3, text
        with_every_width_changed(text)


class Sized(nn.Module):
    """Columns that are cut at fixed places: what makes them keeps its number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.last = nn.Conv2d(3, 4, 3), nn.Linear(144, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x).flatten(1)
        return self.last(torch.cat([y[:, 72:], y[:, :72]], 1))


def test_columns_that_are_cut_have_no_entry(tmp_path):
    assert "WIDTHS" not in source(Sized(), tmp_path)


class Rows(nn.Module):
    """Channels become rows, of as many columns as there are channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.last = nn.Conv2d(3, 36, 3), nn.Linear(36, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.a(x).flatten(2).flatten(0, 1))


def test_rows_are_not_columns(tmp_path):
    assert "WIDTHS" not in source(Rows(), tmp_path)


def test_rows_of_a_flatten_are_not_columns():
    """Flatten at axis 2 makes rows of channels, [N C, H W], whatever the numbers say."""
    import numpy as np
    import onnx_ir as ir
    from onnx import helper, numpy_helper

    weights = {"a.weight": np.ones((4, 3, 1, 1), np.float32), "l.weight": np.ones((4, 2), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["h"]),
        helper.make_node("Flatten", ["h"], ["f"], axis=2),
        helper.make_node("Gemm", ["f", "l.weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 3, 2, 2])],
        [helper.make_tensor_value_info("y", 1, [8, 2])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    infer_shapes(model)
    assert "WIDTHS" not in emit(model, "Net").text
