"""The normalisation of pixels put into the graph: it then takes pixels of 0 to 255 as they are.

y = pixel * gain + shift        gain = scale / std, shift = -mean / std, one number or one a channel
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.data.contract import InputContract
from chanc.transforms._edit import Array, Editor


def bake_input(model: ir.Model, value: ir.Value, contract: InputContract) -> bool:
    """Compute, in place, what `contract` says before anything reads the input `value`; says whether there was any.

    The input keeps its name, type and shape. The metadata then says that it takes pixels as they are.
    """
    raw = InputContract(scale=1.0, layout=contract.layout, order=contract.order)
    editor, last = Editor(model), value
    readers = list(value.uses())
    # Names that exporters give to constants which aren't trained.
    for kind, numbers, neutral in (("Mul", contract.gain, 1.0), ("Add", contract.shift, 0.0)):
        if set(numbers) == {neutral}:
            continue
        operand = editor.initializer(f"onnx::{kind}_0", _along(numbers, contract), value.dtype or ir.DataType.FLOAT)
        output = ir.Value(name=editor.free(f"{value.name}.normalised"), type=value.type, shape=value.shape)
        node = ir.node(kind, [last, operand], outputs=[output], name=editor.free(f"{value.name}.{kind.lower()}"))
        if last is value:
            editor.graph.insert_before(editor.graph[0], node)
        else:
            editor.graph.insert_after(last.producer(), node)  # type: ignore[arg-type]
        last = output
    for node, index in readers if last is not value else ():
        node.replace_input_with(index, last)
    model.metadata_props.update(raw.metadata())
    return last is not value


def _along(numbers: tuple[float, ...], contract: InputContract) -> Array:
    """A number, or one a channel along the channels of an image."""
    array: Array = np.array(numbers if len(set(numbers)) > 1 else numbers[0])
    if not array.ndim:
        return array
    return array if contract.layout == "NHWC" else array.reshape(-1, 1, 1)
