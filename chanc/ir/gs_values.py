"""What single values of onnx-graphsurgeon mean in `onnx_ir`: constants, types, attributes.

Imports onnx_graphsurgeon: only `chanc.ir.graphsurgeon` imports this.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from chanc.errors import ModelError
from chanc.ir.gs_write import SharedValues


def constant_tensor(constant: gs.Constant) -> ir.TensorProtocol:
    """The tensor of a constant. Values that nobody touched are shared, not copied. Raises: ModelError."""
    values = constant._values
    if isinstance(values, SharedValues):
        return values.source
    if isinstance(values, SparseValues):
        raise ModelError(f"constant {constant.name!r} of the gs.Graph is sparse, which chanc does not carry")
    try:
        if isinstance(values, LazyValues):
            return _own_name(ir.from_proto(values.tensor), constant.name)
        if values.dtype.kind in "OSU":
            return _strings(values, constant.name)
        dtype = ir_dtype(constant._export_dtype)
        if dtype is not None and dtype != ir.DataType.from_numpy(values.dtype):
            values = values.astype(dtype.numpy())
        return ir.Tensor(np.asarray(values), dtype, name=constant.name)
    except (TypeError, ValueError) as error:
        raise ModelError(f"constant {constant.name!r} of the gs.Graph can't be held by ONNX: {error}") from error


def _strings(values: np.ndarray[Any, Any], name: str) -> ir.StringTensor:
    items = [item.encode() if isinstance(item, str) else item for item in values.reshape(-1).tolist()]
    if not all(isinstance(item, bytes) for item in items):
        raise TypeError("its values are Python objects")
    return ir.StringTensor(items, shape=ir.Shape(values.shape), name=name)


def _own_name(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
    """`onnx_ir` would write a new name into the message of the caller's graph."""
    if not isinstance(tensor, ir.TensorProtoTensor):
        return tensor
    return ir.LazyTensor(
        lambda: ir.Tensor(tensor.numpy(), tensor.dtype), tensor.dtype, tensor.shape, cache=True, name=name
    )


def same_tensor(a: ir.TensorProtocol | None, b: ir.TensorProtocol) -> bool:
    """Whether two tensors are one object or hold the same values in the same type."""
    return a is b or (a is not None and a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy()))


def ir_dtype(dtype: Any) -> ir.DataType | None:
    """The element type behind a numpy type or an ONNX number. Raises: TypeError, ValueError."""
    if dtype is None:
        return None
    return ir.DataType(dtype) if isinstance(dtype, int) else ir.DataType.from_numpy(np.dtype(dtype))


def describe(value: ir.Value, tensor: gs.Variable) -> None:
    """Give `value` the type and shape of a `gs.Variable`, as far as it has them."""
    if isinstance(tensor.dtype, onnx.TypeProto):
        # graphsurgeon's importer keeps what is inside an optional as it is.
        inner = ir.serde.deserialize_type_proto_for_type(tensor.dtype)
        value.type = None if inner is None else ir.OptionalType(inner)
        return
    dtype = ir_dtype(tensor.dtype)
    if dtype is not None:
        plain = ir.TensorType(dtype)
        value.type = ir.SequenceType(plain) if tensor.type == "sequence_type" else plain
    if tensor.shape is not None:
        value.shape = ir.Shape([int(d) if isinstance(d, numbers.Integral) else d for d in tensor.shape])


def plain_attribute(value: Any) -> tuple[ir.AttributeType, Any] | list[Any] | None:
    """(type, value) of a plain attribute, [] for an empty list, None if it is something else."""
    kinds = ir.AttributeType
    if isinstance(value, (type, np.dtype)):
        dtype = ir_dtype(value)
        return None if dtype is None else (kinds.INT, int(dtype))
    if isinstance(value, numbers.Integral):
        return kinds.INT, int(value)
    if isinstance(value, numbers.Real):
        return kinds.FLOAT, float(value)
    if isinstance(value, (str, bytes)):
        return kinds.STRING, value
    if isinstance(value, onnx.TensorProto):
        return kinds.TENSOR, ir.from_proto(value)
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    items = list(value)
    if all(isinstance(item, numbers.Integral) for item in items):
        return (kinds.INTS, [int(item) for item in items]) if items else []
    if all(isinstance(item, numbers.Real) for item in items):
        return kinds.FLOATS, [float(item) for item in items]
    return (kinds.STRINGS, items) if all(isinstance(item, str) for item in items) else None
