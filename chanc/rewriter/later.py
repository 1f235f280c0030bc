"""Weights of a mapped file that are cut when they are asked for, so that a shrunken model of any size takes no memory.

Saving asks for one tensor after the other. What is drawn, shared out or moved about is made at once, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from chanc.ir.external import MappedTensor
from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import Method, take

Held = TypeVar("Held", bound=ir.TensorProtocol)

LARGE = 1 << 20
"""Bytes of a tensor that is worth waiting with."""


def waits(tensor: ir.TensorProtocol | None, edits: Sequence[AxisEdit], method: Method) -> bool:
    """Whether a tensor's new values are a part of its old ones, which lie in a mapped file."""
    if not isinstance(tensor, MappedTensor) or tensor.nbytes < LARGE or not method.takes:
        return False
    shape = tensor.shape.numpy()
    shrinks = any(edit.source.size < shape[edit.axis] for edit in edits)
    return shrinks and not any(edit.repeats for edit in edits)


def later(tensor: ir.TensorProtocol, edits: Sequence[AxisEdit]) -> ir.LazyTensor:
    """The values at the source of every position; their pages go again when they were read."""
    assert isinstance(tensor, MappedTensor)
    shape = list(tensor.shape.numpy())
    for edit in edits:
        shape[edit.axis] = edit.source.size

    def cut() -> ir.TensorProtocol:
        array = np.asarray(take(tensor.numpy(), edits), order="C")
        tensor.release()
        return ir.Tensor(array, tensor.dtype)

    return _described(ir.LazyTensor(cut, tensor.dtype, ir.Shape(shape)), tensor)


def settle(model: ir.Model) -> None:
    """Cut what waits, for whoever reads it more than once: the model keeps it then."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.LazyTensor):
            value.const_value = _described(value.const_value.raw(), value.const_value)


def _described(new: Held, old: ir.TensorProtocol) -> Held:
    """A tensor with another's name, and what is said of that."""
    new.name, new.doc_string = old.name, old.doc_string
    new.metadata_props.update(old.metadata_props)
    return new
