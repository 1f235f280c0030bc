"""What small integer tensors hold: the values of shape chains, with named unknowns where an axis is dynamic.

Exporters compute the target of a Reshape from the shape of its input (Shape -> Gather -> Div -> Concat). These few
operators, executed on integers and `Dim`s, read such chains through; masks and index tables made of constants come out
of the same table. An operator that isn't here, or a case that needs numbers that aren't known, gives None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.dims import ANY_SIGN, Dim, Size, applied, divide, floor_divide, is_positive, is_whole, unknown

Array = NDArray[Any]
LIMIT = 1 << 18
LONGEST_SHAPE = 16
"""Entries of a vector that may be a shape, or amounts to pad."""


class _Node:
    """Attributes of a node with defaults."""

    def __init__(self, node: ir.Node) -> None:
        self.node = node

    def get(self, name: str, default: Any = None) -> Any:
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def integer(self, name: str, default: int) -> int:
        found = self.get(name, default)
        assert isinstance(found, int)
        return found

    def integers(self, name: str) -> list[int] | None:
        found = self.get(name)
        return None if found is None else [int(n) for n in found]


Evaluator = Callable[[_Node, Sequence[Array]], Array | None]
EVALUATORS: dict[str, Evaluator] = {}
_MEETING = ("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "Equal", "Greater", "Less", "GreaterOrEqual",
            "LessOrEqual", "And", "Or", "Xor", "Where")  # fmt: skip
"""Operators whose operands are broadcast against each other."""



def evaluates(*names: str) -> Callable[[Evaluator], Evaluator]:
    """Register the evaluation of standard operators."""

    def register(function: Evaluator) -> Evaluator:
        for name in names:
            if name in EVALUATORS:
                raise ValueError(f"{name} has an evaluator already")
            EVALUATORS[name] = function
        return function

    return register


def evaluate(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    """The content of the node's first output from that of its inputs, or None."""
    function = EVALUATORS.get(node.op_type)
    if function is None or node.domain not in ("", "ai.onnx"):
        return None
    if _size(node.op_type, inputs) > LIMIT:
        return None
    try:
        with np.errstate(all="ignore"):
            result = function(_Node(node), inputs)
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, AttributeError):
        return None
    return result if result is None or result.size <= LIMIT else None


def _size(op: str, inputs: Sequence[Array]) -> int:
    """At least how many entries the result has: two vectors may meet in a matrix that no memory holds."""
    if op in ("Gather", "GatherND") and len(inputs) > 1:
        return inputs[1].size
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in inputs[:3]))) if op in _MEETING else 0
    except ValueError:
        return 0  # they don't meet: the operator says so


def folded(value: ir.Value, limit: int = 64) -> Array | None:
    """The content of a small value that is computed from constants alone; None where it isn't, or is larger."""
    known: dict[ir.Value, Array | None] = {}
    waiting = [value]
    while waiting:
        node = waiting[-1].producer()
        inputs = [each for each in node.inputs if each is not None] if node is not None else []
        if waiting[-1].const_value is None and _evaluates(node) and (fresh := [v for v in inputs if v not in known]):
            waiting += fresh
        else:
            last = waiting.pop()
            known[last] = _folded(last, node, [known.get(each) for each in inputs], limit)
    return known[value]


def _folded(value: ir.Value, node: ir.Node | None, inputs: list[Array | None], limit: int) -> Array | None:
    if value.const_value is not None:
        return value.const_value.numpy() if value.const_value.size <= limit else None
    arrays = [array for array in inputs if array is not None]
    whole = _evaluates(node) and arrays and len(arrays) == len(inputs)
    return evaluate(node, arrays) if node is not None and whole else None


def _evaluates(node: ir.Node | None) -> bool:
    return node is not None and len(node.outputs) == 1 and node.op_type in EVALUATORS


def is_fill(value: ir.Value) -> bool:
    """Whether a value is a tensor of floats that are all one number: it can be made at any width."""
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return fill is None or fill.as_tensor().dtype.is_floating_point()
    source = node.inputs[0] if node.op_type == "Expand" else None
    number = source.const_value if source is not None else None
    return number is not None and number.size == 1 and number.dtype.is_floating_point()


def named(value: ir.Value, count: Size) -> Array | None:
    """The integers of a vector that only running the model tells, each an unknown of its own; None where it is long."""
    if isinstance(count, Dim) or count > LONGEST_SHAPE:
        return None
    return _objects([unknown(f"{ANY_SIGN}{value.name}[{k}]") for k in range(count)], (count,))


def atoms(array: Array) -> set[str]:
    """The unknowns in an array."""
    return {atom for n in array.ravel().tolist() if isinstance(n, Dim) for atom in n.atoms}


def symbolic(array: Array) -> bool:
    """Whether the array holds unknowns."""
    return array.dtype == object


def settle(array: Array) -> Array:
    """An object array without unknowns becomes an integer array."""
    if array.dtype == object and not any(isinstance(n, Dim) for n in array.ravel().tolist()):
        return array.astype(np.int64)
    return array


def _arithmetic(exact: Callable[[Array, Array], Array], unknowns: Callable[[Any, Any], Any]) -> Evaluator:
    def run(node: _Node, inputs: Sequence[Array]) -> Array | None:
        if len(inputs) != 2:
            return None
        left, right = inputs[0], inputs[1]
        if not symbolic(left) and not symbolic(right):
            return np.asarray(exact(left, right)).astype(left.dtype)
        pairs = np.broadcast(left, right)
        out = [_known_or_named(node.node.op_type, unknowns, _python(a), _python(b)) for a, b in pairs]
        return settle(_objects(out, pairs.shape))

    return run


def _known_or_named(op: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """What a function of two numbers gives, or a name for it; a fraction is named as one."""
    found = function(a, b)
    fraction = op in ("Div", "Mul", "Pow") or not all(is_whole(n) for n in (a, b) if isinstance(n, Dim))
    return applied(op, a, b, whole=not fraction) if found is None else found


def _python(item: object) -> object:
    return item.item() if isinstance(item, np.generic) else item


def _objects(items: list[object], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _int_divide(a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):
        return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
    return np.asarray(np.true_divide(a, b))


def _whole(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Only for whole numbers: what a fraction does to an unknown isn't followed."""

    def run(a: Any, b: Any) -> Any:
        fractional = any(isinstance(n, float) and not n.is_integer() for n in (a, b))
        a, b = (int(n) if isinstance(n, float) and n.is_integer() else n for n in (a, b))
        return None if fractional else function(a, b)

    return run


def _extreme(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Max or Min of two sizes: known for two numbers, and for two equal ones."""

    def run(a: Any, b: Any) -> Any:
        return a if a == b else None if isinstance(a, Dim) or isinstance(b, Dim) else choose(a, b)

    return run


EVALUATORS["Add"] = _arithmetic(lambda a, b: np.add(a, b), _whole(lambda a, b: a + b))
EVALUATORS["Sub"] = _arithmetic(lambda a, b: np.subtract(a, b), _whole(lambda a, b: a - b))
EVALUATORS["Mul"] = _arithmetic(lambda a, b: np.multiply(a, b), _whole(lambda a, b: a * b))
EVALUATORS["Max"] = _arithmetic(lambda a, b: np.maximum(a, b), _extreme(max))
EVALUATORS["Min"] = _arithmetic(lambda a, b: np.minimum(a, b), _extreme(min))
EVALUATORS["Pow"] = _arithmetic(lambda a, b: np.power(a, b), lambda a, b: None)


@evaluates("Div")
def _div(node: _Node, inputs: Sequence[Array]) -> Array | None:
    divided = floor_divide if getattr(node.node.inputs[0], "dtype", None) != ir.DataType.FLOAT else divide
    return _arithmetic(_int_divide, _whole(divided))(node, inputs)


@evaluates("Mod")
def _mod(node: _Node, inputs: Sequence[Array]) -> Array | None:
    exact = np.fmod if node.integer("fmod", 0) else np.mod
    return _arithmetic(lambda a, b: exact(a, b), _whole(lambda a, b: a % b))(node, inputs)


def _comparison(exact: Callable[[Array, Array], Array]) -> Evaluator:
    def run(node: _Node, inputs: Sequence[Array]) -> Array | None:
        left, right = inputs[0], inputs[1]
        if not symbolic(left) and not symbolic(right):
            return np.asarray(exact(left, right))
        pairs = np.broadcast(left, right)
        # The size of an axis is at least 1, so it differs from -1 and 0: what exporters test for.
        decided = [_certain(exact, _python(a), _python(b)) for a, b in pairs]
        return None if None in decided else np.array(decided, dtype=bool).reshape(pairs.shape)

    return run


def _certain(exact: Callable[[Any, Any], Any], a: Any, b: Any) -> bool | None:
    if a == b or (isinstance(a, int) and isinstance(b, int)):
        return bool(exact(np.int64(1 if a == b else a), np.int64(1 if a == b else b)))
    size, other = (a, b) if isinstance(a, Dim) else (b, a)
    known_positive = isinstance(other, int) and other <= 0 and is_positive(size)
    return (
        bool(exact(np.int64(1), np.int64(0)))
        if known_positive and isinstance(a, Dim)
        else (bool(exact(np.int64(0), np.int64(1))) if known_positive else None)
    )


EVALUATORS["Equal"] = _comparison(lambda a, b: np.equal(a, b))
EVALUATORS["Greater"] = _comparison(lambda a, b: np.greater(a, b))
EVALUATORS["Less"] = _comparison(lambda a, b: np.less(a, b))
EVALUATORS["GreaterOrEqual"] = _comparison(lambda a, b: np.greater_equal(a, b))
EVALUATORS["LessOrEqual"] = _comparison(lambda a, b: np.less_equal(a, b))


@evaluates("And", "Or", "Xor")
def _logical(node: _Node, inputs: Sequence[Array]) -> Array | None:
    table = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
    return np.asarray(table[node.node.op_type](*inputs))


@evaluates("Not")
def _not(node: _Node, inputs: Sequence[Array]) -> Array | None:
    return np.logical_not(inputs[0])


@evaluates("Neg", "Abs", "Floor", "Ceil", "Sqrt", "Round", "Sign")
def _unary(node: _Node, inputs: Sequence[Array]) -> Array | None:
    op, array = node.node.op_type, inputs[0]
    if symbolic(array) and op == "Sqrt" and not symbolic(settle(array)):
        # Read off widths, but known: the root, as of a size of heads, is a number that stays what it is.
        kind = getattr(node.node.outputs[0], "dtype", None) or ir.DataType.FLOAT
        return np.asarray(np.sqrt(array.astype(kind.numpy())))
    if symbolic(array):
        return settle(_objects([_unary_size(op, n) for n in array.ravel().tolist()], array.shape))
    table = {
        "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt, "Round": np.rint,
        "Sign": np.sign,
    }  # fmt: skip
    return np.asarray(table[op](array)).astype(array.dtype)


def _unary_size(op: str, n: Any) -> Any:
    """What a function of one number makes of a size."""
    if op == "Neg":
        return -n
    if not isinstance(n, Dim) and op in ("Sqrt", "Sign"):
        # A known number among unknown ones; a root that isn't whole is named.
        if op == "Sign":
            return int(n > 0) - int(n < 0)
        root = math.isqrt(n) if isinstance(n, int) and n >= 0 else -1
        return root if root * root == n else applied(op, n, whole=False)
    if isinstance(n, Dim) and (op in ("Sqrt", "Sign") or not is_whole(n)):
        return applied(op, n, whole=op != "Sqrt" and op != "Abs")
    return abs(n) if op == "Abs" and isinstance(n, int) else n


@evaluates("Cast")
def _cast(node: _Node, inputs: Sequence[Array]) -> Array | None:
    target = ir.DataType(node.integer("to", 0))
    if symbolic(inputs[0]):
        if not target.is_integer():
            return inputs[0]
        # Sizes are not negative: a fraction becomes the whole number under it.
        return _objects([_unary_size("Floor", n) for n in inputs[0].ravel().tolist()], inputs[0].shape)
    return inputs[0].astype(target.numpy())


@evaluates("Clip")
def _clip(node: _Node, inputs: Sequence[Array]) -> Array | None:
    """Bounds are attributes before opset 11, and inputs that may be left out since."""
    given = node.node.inputs
    bounds = iter(inputs[1:])
    found = [next(bounds) if k < len(given) and given[k] is not None else None for k in (1, 2)]
    low, high = (node.get(name) if array is None else array for name, array in zip(("min", "max"), found, strict=True))
    if not symbolic(inputs[0]):
        return np.asarray(np.clip(inputs[0], low, high)).astype(inputs[0].dtype)
    out = [applied("Clip", n, low, high, whole=is_whole(n)) for n in inputs[0].ravel().tolist()]
    return _objects(list(out), inputs[0].shape)


@evaluates("Identity")
def _identity(node: _Node, inputs: Sequence[Array]) -> Array | None:
    return inputs[0]


@evaluates("Concat")
def _concat(node: _Node, inputs: Sequence[Array]) -> Array | None:
    return np.concatenate(list(inputs), axis=node.integer("axis", 0))


@evaluates("Gather")
def _gather(node: _Node, inputs: Sequence[Array]) -> Array | None:
    return np.asarray(np.take(inputs[0], inputs[1].astype(np.int64), axis=node.integer("axis", 0)))


@evaluates("GatherND")
def _gather_nd(node: _Node, inputs: Sequence[Array]) -> Array | None:
    if node.integer("batch_dims", 0):
        return None
    return np.asarray(inputs[0][tuple(np.moveaxis(inputs[1].astype(np.int64), -1, 0))])


@evaluates("Slice")
def _slice(node: _Node, inputs: Sequence[Array]) -> Array | None:
    array = inputs[0]
    parts = [node.integers("starts"), node.integers("ends"), node.integers("axes"), node.integers("steps")]
    for k, given in enumerate(inputs[1:5]):
        parts[k] = [int(n) for n in given.ravel().tolist()]
    starts, ends = parts[0] or [], parts[1] or []
    index: list[slice] = [slice(None)] * array.ndim
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = (parts[2] or range(len(starts)))[k]
        step = parts[3][k] if parts[3] else 1
        index[axis] = onnx_slice(start, end, step, array.shape[axis])
    return array[tuple(index)]


def onnx_slice(start: int, end: int, step: int, size: int) -> slice:
    """The Python slice of one axis of ONNX Slice: out-of-range bounds are clamped, step may be negative."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step)


@evaluates("Unsqueeze")
def _unsqueeze(node: _Node, inputs: Sequence[Array]) -> Array | None:
    axes = node.integers("axes") or [int(n) for n in inputs[1].ravel().tolist()]
    shape, rank = list(inputs[0].shape), inputs[0].ndim + len(axes)
    for axis in sorted({axis % rank for axis in axes}):
        shape.insert(axis, 1)
    return inputs[0].reshape(shape)


@evaluates("Squeeze")
def _squeeze(node: _Node, inputs: Sequence[Array]) -> Array | None:
    axes = node.integers("axes")
    if axes is None and len(inputs) > 1:
        axes = [int(n) for n in inputs[1].ravel().tolist()]
    return np.squeeze(inputs[0], axis=tuple(axes) if axes is not None else None)


@evaluates("Reshape")
def _reshape(node: _Node, inputs: Sequence[Array]) -> Array | None:
    target = [int(n) for n in (node.integers("shape") or inputs[1].ravel().tolist())]
    if not node.integer("allowzero", 0):
        target = [inputs[0].shape[k] if n == 0 else n for k, n in enumerate(target)]
    return inputs[0].reshape(target)


@evaluates("Flatten")
def _flatten(node: _Node, inputs: Sequence[Array]) -> Array | None:
    axis = node.integer("axis", 1) % (inputs[0].ndim + 1)
    return inputs[0].reshape(math.prod(inputs[0].shape[:axis]), -1)


@evaluates("Transpose")
def _transpose(node: _Node, inputs: Sequence[Array]) -> Array | None:
    return inputs[0].transpose(node.integers("perm"))


@evaluates("Expand")
def _expand(node: _Node, inputs: Sequence[Array]) -> Array | None:
    target = tuple(int(n) for n in inputs[1].ravel().tolist())
    if math.prod(target) > LIMIT:
        return None
    return np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, target))


@evaluates("Tile")
def _tile(node: _Node, inputs: Sequence[Array]) -> Array | None:
    repeats = [int(n) for n in inputs[1].ravel().tolist()]
    return np.tile(inputs[0], repeats) if inputs[0].size * math.prod(repeats) <= LIMIT else None


@evaluates("ConstantOfShape")
def _constant_of_shape(node: _Node, inputs: Sequence[Array]) -> Array | None:
    shape = tuple(int(n) for n in inputs[0].ravel().tolist())
    value = node.get("value")
    fill = value.numpy().ravel()[0] if value is not None else np.float32(0)
    return np.full(shape, fill) if math.prod(shape) <= LIMIT else None


@evaluates("Range")
def _range(node: _Node, inputs: Sequence[Array]) -> Array | None:
    start, limit, delta = (array.ravel()[0] for array in inputs)
    if abs((int(limit) - int(start)) / int(delta)) > LIMIT:
        return None
    return np.arange(start, limit, delta, dtype=inputs[0].dtype)


@evaluates("Where")
def _where(node: _Node, inputs: Sequence[Array]) -> Array | None:
    if symbolic(inputs[0]):
        return None
    if symbolic(inputs[1]) or symbolic(inputs[2]):
        return settle(np.where(inputs[0], inputs[1].astype(object), inputs[2].astype(object)))
    return np.where(inputs[0], inputs[1], inputs[2])


@evaluates("ScatterND")
def _scatter_nd(node: _Node, inputs: Sequence[Array]) -> Array | None:
    if node.get("reduction", "none") != "none":
        return None
    result = inputs[0].copy()
    result[tuple(np.moveaxis(inputs[1].astype(np.int64), -1, 0))] = inputs[2]
    return result


@evaluates("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")
def _reduce(node: _Node, inputs: Sequence[Array]) -> Array | None:
    axes = node.integers("axes")
    if axes is None and len(inputs) > 1:
        axes = [int(n) for n in inputs[1].ravel().tolist()]
    if not axes and node.integer("noop_with_empty_axes", 0):
        return inputs[0]
    table: dict[str, Callable[..., Any]] = {
        "ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min,
    }  # fmt: skip
    reduced = table[node.node.op_type](
        inputs[0], axis=tuple(axes) if axes else None, keepdims=bool(node.integer("keepdims", 1))
    )
    return settle(np.asarray(reduced, dtype=inputs[0].dtype))


@evaluates("CumSum")
def _cumsum(node: _Node, inputs: Sequence[Array]) -> Array | None:
    if node.integer("exclusive", 0) or node.integer("reverse", 0):
        return None
    return np.cumsum(inputs[0], axis=int(inputs[1].ravel()[0]), dtype=inputs[0].dtype)


@evaluates("Trilu")
def _trilu(node: _Node, inputs: Sequence[Array]) -> Array | None:
    k = int(inputs[1].ravel()[0]) if len(inputs) > 1 else 0
    return np.triu(inputs[0], k) if node.integer("upper", 1) else np.tril(inputs[0], k)
