"""A model run bit by bit: what lies between two layers is computed once, from what was kept at the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.backends.ort import run, session
from chanc.ir.nodes import captured_by
from chanc.transforms._edit import Array

Feeds = Mapping[str, Array]


def part(model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], known: Feeds) -> ir.Model:
    """The model between tensors, a copy; its inputs are those of `inputs` that it needs, of the types in `known`."""
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    for value in list(graph.inputs):
        if value.is_initializer():
            continue
        if not value.uses() and not value.is_graph_output():
            graph.inputs.remove(value)
        elif isinstance(array := known.get(value.name or ""), np.ndarray):
            # Batches may be of several sizes.
            value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
            value.shape = ir.Shape([None] * array.ndim)
    return ir.Model(graph, ir_version=model.ir_version)


class Frontier:
    """Where a run of batches stands: before a node, with the tensors of each batch that the rest needs.

    Nodes behind may be changed; those before aren't looked at again.
    """

    def __init__(self, model: ir.Model, batches: Sequence[Feeds]) -> None:
        self._model, self._nodes, self._at = model, list(model.graph), 0
        self._batches: list[dict[str, Any]] = [dict(batch) for batch in batches]
        self._last: dict[ir.Value, int] = {value: len(self._nodes) for value in model.graph.outputs}
        for index, node in reversed(list(enumerate(self._nodes))):
            for value in (*node.inputs, *captured_by(node)):
                if value is not None:
                    self._last.setdefault(value, index)
        self._held = {value for value in model.graph.inputs if value.name in self._batches[0]}

    def advance(self, index: int, wanted: Sequence[ir.Value]) -> Iterator[Feeds]:
        """Go on to the node of that index; yields the tensors wanted, batch by batch, and must be gone through.

        A tensor that lies behind may be wanted, too: it is computed, and not kept.
        """
        made = [value for node in self._nodes[self._at : index] for value in node.outputs if self._needed(value, index)]
        more = [value for value in wanted if value not in self._held and value not in made]
        new, before = [*made, *more], list(self._held)
        self._at, self._held = index, {value for value in before if self._needed(value, index)} | set(made)
        opened = session(part(self._model, before, new, self._batches[0])) if new else None
        reads = [value.name for value in opened.get_inputs()] if opened is not None else []
        kept = {value.name for value in self._held}
        for batch in self._batches:
            if opened is not None:
                found = run(opened, {name: batch[name] for name in reads})
                batch.update({value.name or "": array for value, array in zip(new, found, strict=True)})
            yield {value.name or "": batch[value.name or ""] for value in wanted}
            for name in batch.keys() - kept:
                del batch[name]

    def _needed(self, value: ir.Value, index: int) -> bool:
        return self._last.get(value, -1) >= index
