"""What is known of the graph's values while it is emitted.

A value is in one of three states: a tensor that the network computes, a constant (initializer, Constant node, or folded
from such), or a list of sizes whose entries may be Python expressions (`symbols`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.backends.torch import names, symbols
from chanc.backends.torch.node import Node
from chanc.backends.torch.paths import PathBook
from chanc.backends.torch.program import Statement, Submodule
from chanc.ops import weight_of

DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "INT64": "int64",
    "INT32": "int32", "INT16": "int16", "INT8": "int8", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32",
    "UINT64": "uint64", "BOOL": "bool", "COMPLEX64": "complex64", "COMPLEX128": "complex128",
    "FLOAT8E4M3FN": "float8_e4m3fn", "FLOAT8E5M2": "float8_e5m2", "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_LEARNED_SCALAR = re.compile(r".*(\.|_)(weight|bias|scale|gamma|beta|alpha|slope|[wb]_\d+)$|logit_scale")


@dataclass(frozen=True, eq=False)
class Const:
    """A constant and the value that holds it; `origin` is None for what the emitter folded."""

    array: np.ndarray
    origin: ir.Value | None
    name: str


class Values:
    """The state of one emission and all questions about its values."""

    def __init__(self, model: ir.Model, name: str) -> None:
        self.model = model
        self.name = name
        self.opsets = dict(model.opset_imports)
        self.statements: list[Statement] = []
        self.submodules: dict[int, Submodule] = {}
        self.helpers: set[str] = set()
        self.constants: dict[str, np.ndarray] = {}
        self.paths = PathBook()
        self.skip: set[ir.Node] = set()
        self.joined: dict[tuple[int | str, ...], str] = {}
        """(axis, operands of a Concat) -> its result."""
        self.parted: set[ir.Value] = set()
        """Results of Slices that are written already, as a part of what a Split gives."""
        self._tensors: dict[ir.Value, int] = {}
        self._consts: dict[ir.Value, Const] = {}
        self._hosts: dict[ir.Value, np.ndarray] = {}
        self._dims: dict[ir.Value, tuple[int | None, ...]] = {}
        self._types: dict[ir.Value, ir.DataType] = {}
        self._leaves: dict[tuple[str, str], int] = {}
        self._shared: dict[object, int] = {}
        self._sizes: dict[tuple[int, int], symbols.Sym] = {}
        self._values: list[ir.Value | None] = []
        self._hints: dict[int, str] = {}
        self._parent: dict[int, int] = {}
        self._tied: dict[object, str] = {}
        self._escaped: set[int] = set()
        self._flattened: dict[int, tuple[int, int]] = {}
        self._sized: set[ir.Node] = set()

    def const(self, value: ir.Value | None) -> np.ndarray | None:
        """The value's array where it is known now, trainable or not."""
        if value is None:
            return None
        self._load_constant(value)
        found = self._consts.get(value)
        return None if found is None else found.array

    def frozen(self, value: ir.Value | None) -> np.ndarray | None:
        """The value's array where it is known now and no parameter that trains."""
        array = self.const(value)
        return None if array is None or value is None or self.trains(value) else array

    def host(self, value: ir.Value | None, limit: int = 4096) -> np.ndarray | None:
        """The value as an object array of numbers and expressions, or None for a tensor of the run."""
        if value is None:
            return None
        if value in self._hosts:
            return self._hosts[value]
        array = self.frozen(value)
        if array is None or array.size > limit or array.dtype.kind not in "iubf":
            return None
        return symbols.as_objects(array)

    def symbolic(self, value: ir.Value | None) -> bool:
        """Whether the value is a list of sizes with entries that wait for the run."""
        return value in self._hosts

    def trains(self, value: ir.Value) -> bool:
        """Whether a constant is a parameter: floating point, from the file, and named by a person or quantised."""
        self._load_constant(value)
        found = self._consts.get(value)
        if found is None or found.origin is None or found.array.dtype.kind in "iubOSU":
            return False
        if _is_quantised(value):
            return True
        if names.is_generated(found.name) or _is_statistic(value):
            return False
        return found.array.size > 1 or _LEARNED_SCALAR.fullmatch(found.name) is not None

    def is_weight(self, value: ir.Value | None) -> bool:
        """Whether a constant comes from the file as a floating point tensor."""
        array = self.const(value)
        if value is None or array is None or self._consts[value].origin is None:
            return False
        return self.dtype(value) in ("float32", "float64", "float16", "bfloat16")

    def origin(self, value: ir.Value) -> str:
        """The name of the initializer (or Constant output) that holds a constant; its own name where it was folded."""
        found = self._consts[value]
        return (found.origin.name if found.origin is not None else value.name) or ""

    def shape(self, value: ir.Value | None) -> tuple[int | None, ...] | None:
        """The value's shape; None for an unknown size, or for an unknown rank."""
        if value is None:
            return None
        array = self.const(value)
        if array is not None:
            return tuple(array.shape)
        if value in self._hosts:
            return tuple(self._hosts[value].shape)
        if value.shape is not None:
            known = tuple(int(dim) if isinstance(dim, int) and dim > 0 else None for dim in value.shape)
            return self._dims.get(value, known) if None in known else known
        return self._dims.get(value)

    def rank(self, value: ir.Value | None) -> int | None:
        """The number of axes, where it is known."""
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def need_rank(self, node: Node, index: int = 0) -> int:
        """The rank of an input; raises ModelError where shape inference could not tell."""
        rank = self.rank(node.input(index))
        if rank is None:
            raise node.refuse(f"the rank of input {index} is not known")
        return rank

    def dtype(self, value: ir.Value | None) -> str:
        """The torch dtype's name, `float32` where nothing is known."""
        if value is None:
            return "float32"
        known = value.dtype if value.dtype is not None else self._types.get(value)
        if known is None:
            array = self.const(value)
            known = ir.DataType.FLOAT if array is None else ir.DataType.from_numpy(array.dtype)
        return DTYPES.get(known.name, "float32")

    def is_int(self, value: ir.Value | None) -> bool:
        """Whether the value holds integers."""
        return "int" in self.dtype(value)

    def dtype_name(self, node: Node, code: int) -> str:
        """The torch dtype's name of an ONNX dtype's number."""
        name = ir.DataType(code).name
        if name not in DTYPES:
            raise node.refuse(f"PyTorch has no dtype for {name}")
        return DTYPES[name]

    def alias(self, output: ir.Value, value: ir.Value) -> None:
        """Make `output` another name of `value`, whatever its state is."""
        self._load_constant(value)
        if value in self._consts:
            source = self._consts[value]
            self._consts[output] = Const(source.array, source.origin, output.name or source.name)
        elif value in self._hosts:
            self._hosts[output] = self._hosts[value]
        else:
            self._tensors[output] = self._tensors[value]
        shape = self.shape(value)
        if shape is not None:
            self._dims.setdefault(output, shape)

    def set_host(self, output: ir.Value, array: np.ndarray) -> None:
        """Make `output` a list of sizes; one without expressions becomes a constant."""
        if symbols.concrete(array):
            flat = list(array.flat)
            kind = np.bool_ if flat and isinstance(flat[0], bool) else np.int64
            if any(isinstance(entry, float) for entry in flat):
                kind = np.float32
            dtype = output.dtype.numpy() if output.dtype is not None else np.dtype(kind)
            self.set_const(output, np.array(flat, dtype=dtype).reshape(array.shape))
        else:
            self._hosts[output] = array

    def set_const(self, output: ir.Value, array: np.ndarray, origin: ir.Value | None = None) -> None:
        """Make `output` a constant: one that the emitter computed, or one that `origin` holds in the file."""
        self._consts[output] = Const(array, origin, output.name or "constant")

    def set_shape(self, output: ir.Value, shape: Sequence[int | None]) -> None:
        """Note the shape of an output that shape inference left open."""
        self._dims[output] = tuple(shape)

    def forget(self, values: Iterable[ir.Value]) -> None:
        """Drop what is known of values that are about to be computed again: the body of an unrolled loop."""
        for value in values:
            for table in (self._tensors, self._consts, self._hosts, self._dims):
                table.pop(value, None)

    def _load_constant(self, value: ir.Value) -> None:
        if (
            value in self._consts
            or value.const_value is None
            or (value.is_graph_input() and not value.is_initializer())
        ):
            return
        producer = value.producer()
        if value.is_initializer() or (producer is not None and producer.op_type == "Constant"):
            self._consts[value] = Const(np.asarray(value.const_value.numpy()), value, value.name or "")

    def _shape_comment(self, value: ir.Value) -> str:
        if value.shape is None:
            known = self._dims.get(value)
            return "" if known is None else f"[{', '.join('?' if d is None else str(d) for d in known)}]"
        parts = []
        for dim in value.shape:
            if isinstance(dim, int):
                parts.append(str(dim) if dim > 0 else "?")
            else:
                parts.append(re.sub(r"[^A-Za-z0-9_]+", "", str(dim.value or ""))[:12] or "?")
        return f"[{', '.join(parts)}]"


def _is_quantised(value: ir.Value) -> bool:
    """Whether the graph rounds a constant: it is a weight, whatever it is called."""
    return any(node.op_type == "QuantizeLinear" and index == 0 for node, index in value.uses())


def _is_statistic(value: ir.Value) -> bool:
    """Whether a constant is read as a running statistic alone."""
    read = [weight_of(node, index) for node, index in value.uses()]
    return bool(read) and all(weight is not None and weight.statistic for weight in read)
