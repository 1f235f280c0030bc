"""Weights of a mapped file that are made when they are asked for, so that a resized model of any size takes no memory.

Saving asks for one tensor after the other. What is drawn is the same each time: every tensor has a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from chanc.ir.external import is_mapped
from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import Method
from chanc.rewriter.transfer._common import Tensor

Held = TypeVar("Held", bound=ir.TensorProtocol)

LARGE = 1 << 20
"""Bytes of a tensor that is worth waiting with."""


def waits(tensor: ir.TensorProtocol | None, edits: Sequence[AxisEdit], method: Method) -> bool:
    """Whether a tensor's old values lie in a mapped file, and its new ones, of other sizes, need nothing else."""
    if not is_mapped(tensor) or tensor.nbytes < LARGE or not method.takes:
        return False
    shape = tensor.shape.numpy()
    return any(edit.source.size != shape[edit.axis] for edit in edits)


def later(tensor: ir.TensorProtocol, edits: Sequence[AxisEdit], make: Callable[[Tensor], Tensor]) -> ir.LazyTensor:
    """What is made of the old values; their pages go again when they were read."""
    assert is_mapped(tensor)
    shape = list(tensor.shape.numpy())
    for edit in edits:
        shape[edit.axis] = edit.source.size

    def made() -> ir.TensorProtocol:
        array = np.asarray(make(tensor.numpy()), order="C")
        tensor.release()
        return ir.Tensor(array, tensor.dtype)

    return _described(ir.LazyTensor(made, tensor.dtype, ir.Shape(shape)), tensor)


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
