"""Latency as a differentiable function of widths: a table a layer, measured in onnxruntime, read between its entries.

    latency = whole / sum of T at the model's own widths * sum over layers of T(i, o),    T bilinear in i and o

T(i, o) is what one convolution, or one product with a weight, takes that reads i channels and makes o; between the
entries of a table it is interpolated, for a table's nearest entry has no gradient, and beyond them its last cell goes
on. What else a network does goes with its layers: `whole` is what it takes as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from chanc.analysis import Analysis
from chanc.backends.ort import latency
from chanc.cost.polynomial import Polynomial
from chanc.cost.sizes import Unknown
from chanc.errors import ModelError
from chanc.files import atomic_write_json
from chanc.ir.nodes import called
from chanc.ops import Trait, groups, has, weight_of

GRID = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Where a layer is measured, as shares of its own widths."""
REPEATS, WARMUP = 15, 3
Widths = Mapping[str, Polynomial]
"""By group: its width in the units', which are symbols."""


@dataclass(frozen=True)
class LayerTable:
    """Milliseconds [taken, made] of the layer `node` (its first output) at these widths, channels, ascending."""

    node: str
    taken: Sequence[int]
    made: Sequence[int]
    ms: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Table:
    """Milliseconds of one input: of the whole model as it is, and of its layers."""

    whole: float
    layers: tuple[LayerTable, ...]

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        atomic_write_json(path, dataclasses.asdict(self))

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Table:
        """From what `save` wrote."""
        return cls(content["whole"], tuple(LayerTable(**layer) for layer in content["layers"]))


@dataclass(frozen=True)
class _Layer:
    """A layer as it stands in a model: the sizes of what it reads and of its weight, the weight's axes, and widths.

    within: how many groups the channels that it takes lie in, where the weight's axis has those of one.
    """

    node: ir.Node
    data: tuple[int, ...]
    shape: tuple[int, ...]
    take: int
    make: int
    within: int
    taken: Polynomial | int
    made: Polynomial | int

    @property
    def own(self) -> tuple[int, int]:
        """The channels that it takes and makes in the model as it is."""
        return self.shape[self.take] * self.within, self.shape[self.make]

    @property
    def signature(self) -> str:
        """Layers of one signature take as long."""
        attributes = sorted((name, str(attribute.value)) for name, attribute in self.node.attributes.items())
        return f"{self.node.op_type} {attributes} {self.data} {self.shape}"


def measured(analysis: Analysis, widths: Widths, sizes: Mapping[str, int]) -> Table:
    """Time all layers whose widths follow units, each kind of them once, and the model as a whole."""
    known: dict[str, LayerTable] = {}
    tables = []
    for layer in _layers(analysis, widths):
        found = known.get(layer.signature) or _timed(layer)
        known[layer.signature] = found
        tables.append(dataclasses.replace(found, node=called(layer.node)))
    whole = latency(analysis.model, batch=1, sizes=sizes).median_s * 1e3
    return Table(whole, tuple(tables))


class Interpolated:
    """The latency, in milliseconds, at expected widths: a cost of the moments (`chanc.training.expected`)."""

    degree = 1

    def __init__(self, table: Table, analysis: Analysis, widths: Widths, units: int, device: torch.device) -> None:
        tables = {layer.node: layer for layer in table.layers}
        layers = [layer for layer in _layers(analysis, widths) if called(layer.node) in tables]
        if not layers:
            raise ModelError("no layer's latency follows the widths that have masks")
        forms = [_linear(side, units) for layer in layers for side in (layer.taken, layer.made)]
        found = [tables[called(layer.node)] for layer in layers]

        def tensor(values: Any, *shape: int) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=device).reshape(shape)

        count, most = len(layers), len(GRID)
        self._form = tensor(forms, count, 2, units + 1)
        self._grid = tensor([[one.taken, one.made] for one in found], count, 2, most)
        self._ms = tensor([one.ms for one in found], count, most, most)
        own = tensor([layer.own for layer in layers], count, 2)
        self._scale = table.whole / float(self._read(own))

    def __call__(self, moments: Tensor) -> Tensor:
        """Milliseconds."""
        widths = torch.cat([moments.new_ones(1), moments[:, 1]])
        return self._scale * self._read(self._form @ widths)

    def _read(self, at: Tensor) -> Tensor:
        """The sum of all tables at these widths, [layers, 2]."""
        upper = torch.searchsorted(self._grid, at.detach()[..., None]).squeeze(-1).clamp_(1, len(GRID) - 1)
        low, high = (self._grid.gather(2, index[..., None]).squeeze(-1) for index in (upper - 1, upper))
        part = (at - low) / (high - low)
        rows = torch.arange(len(at), device=at.device)
        total = at.new_zeros(())
        for i in (0, 1):
            for o in (0, 1):
                share = (part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if o else 1 - part[:, 1])
                total = total + (share * self._ms[rows, upper[:, 0] - 1 + i, upper[:, 1] - 1 + o]).sum()
        return total


def _layers(analysis: Analysis, widths: Widths) -> Iterator[_Layer]:
    own, symbolic = analysis.sizes(), analysis.sizes(widths)
    for node in analysis.model.graph:
        weight = weight_of(node, 1) if has(node, Trait.CONVOLUTION, Trait.LINEAR) else None
        value = node.inputs[1] if weight is not None else None
        if weight is None or value is None or value.const_value is None:
            continue
        try:
            sides = [sizes.input(node, index) for sizes in (own, symbolic) for index in (0, 1)]
        except Unknown:
            continue
        data, shape, _, symbols = (tuple(side or ()) for side in sides)
        takes, makes = (axes(node.attributes, len(shape)) for axes in (weight.takes, weight.makes))
        if len(makes) != 1 or len(takes) != 1:
            continue
        within = groups(node.attributes) if weight.kernel and takes[0] == 1 else 1
        taken, made = symbols[takes[0]] * within, symbols[makes[0]]
        if within > 1 and shape[1] == 1:
            taken = made * (within / shape[makes[0]])  # depthwise: as many groups as channels
        if isinstance(taken, Polynomial) or isinstance(made, Polynomial):
            yield _Layer(node, data, shape, takes[0], makes[0], within, taken, made)


def _timed(layer: _Layer) -> LayerTable:
    own, count = layer.own, groups(layer.node.attributes)
    alone = count > 1 and layer.shape[1] == 1  # depthwise: what it makes follows what it takes
    taken, made = (_grid(width, 1 if alone else count) for width in own)
    if alone:
        each = [_time(layer, i, round(i * own[1] / own[0]), i) for i in taken]
        return LayerTable("", taken, made, [[ms] * len(made) for ms in each])
    return LayerTable("", taken, made, [[_time(layer, i, o, count) for o in made] for i in taken])


def _grid(own: int, multiple: int) -> list[int]:
    """Widths around the own one, ascending, multiples of a number."""
    found: list[int] = []
    for share in GRID:
        least = found[-1] + multiple if found else multiple
        found.append(max(round(own * share / multiple) * multiple, least))
    return found


def _time(layer: _Layer, taken: int, made: int, count: int) -> float:
    """Milliseconds of the layer alone, at these widths."""
    data, shape = list(layer.data), list(layer.shape)
    shape[layer.make], shape[layer.take] = made, taken // (count if layer.within > 1 else 1)
    data[1 if has(layer.node, Trait.CONVOLUTION) else -1] = taken
    node = ir.serde.serialize_node(layer.node)
    node.input[:], node.output[:] = ["x", "w"], ["y"]
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = count
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = helper.make_graph(
        [node], "layer", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, data)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)], [numpy_helper.from_array(values, "w")],
    )  # fmt: skip
    opset = layer.node.graph.opset_imports.get("", 17) if layer.node.graph is not None else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return latency(model, repeats=REPEATS, warmup=WARMUP).median_s * 1e3


def _linear(width: Polynomial | int, units: int) -> list[float]:
    """A width as its constant and its factor of each unit."""
    terms = width.terms if isinstance(width, Polynomial) else {(): float(width)}
    row = [0.0] * (units + 1)
    for key, value in terms.items():
        row[key[0] + 1 if key else 0] += value
    return row
