"""From an `onnx_ir.Model` to a `Program`: walks the nodes in order and asks the registry's rule for each.

A value is in one of three states while the emitter runs: a tensor that the network computes, a constant (initializer,
Constant node, or folded from such), or a list of sizes whose entries may be Python expressions (`symbols`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from chanc.backends.torch import fusions, names, registry, symbols
from chanc.backends.torch.folding import fold
from chanc.backends.torch.node import Node
from chanc.backends.torch.paths import PathBook
from chanc.backends.torch.program import Binding, Program, Statement, Submodule, module_token, tokens, value_token
from chanc.errors import ModelError

DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "INT64": "int64",
    "INT32": "int32", "INT16": "int16", "INT8": "int8", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32",
    "UINT64": "uint64", "BOOL": "bool", "COMPLEX64": "complex64", "COMPLEX128": "complex128",
    "FLOAT8E4M3FN": "float8_e4m3fn", "FLOAT8E5M2": "float8_e5m2", "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_LEARNED_SCALAR = re.compile(r".*(\.|_)(weight|bias|scale|gamma|beta|alpha|slope|[wb]_\d+)$|logit_scale")
_KEEPS_CHANNELS = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Gelu",
        "Mish",
        "Swish",
        "Softplus",
        "Erf",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "Dropout",
        "Identity",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "Pow",
        "Sqrt",
        "Resize",
        "Upsample",
        "Pad",
        "LRN",
        "Cast",
        "ReduceMean",
        "Flatten",
        "Reshape",
        "Squeeze",
    ]
)

_MAKES_CHANNELS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])
_BROADCASTS = frozenset(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"])
_KEEPS_RANK = frozenset(
    [
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "Erf"),
        *("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Exp", "Log", "Min", "Max", "Where", "Cast", "Concat"),
        *("MatMul", "Gemm", "Conv", "BatchNormalization", "LayerNormalization", "Softmax", "LogSoftmax"),
        *("MaxPool", "AveragePool", "GlobalAveragePool"),
    ]
)


@dataclass(frozen=True, eq=False)
class Const:
    """A constant and the value that holds it; `origin` is None for what the emitter folded."""

    array: np.ndarray
    origin: ir.Value | None
    name: str


class Emitter:
    """The state of one emission; rules read their node's inputs through it and write statements."""

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
        self._sized: set[ir.Node] = set()

    # What a value is

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
        """Whether a constant is a parameter: floating point, from the file, and named by a person."""
        self._load_constant(value)
        found = self._consts.get(value)
        if found is None or found.origin is None or found.array.dtype.kind in "iubOSU":
            return False
        if names.is_generated(found.name):
            return False
        return found.array.size > 1 or _LEARNED_SCALAR.fullmatch(found.name) is not None

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

    # Reading a value

    def __call__(self, value: ir.Value | None) -> str:
        """The value as a torch tensor."""
        if value is None:
            return "None"
        if value in self._tensors:
            return value_token(self._tensors[value])
        if value in self._hosts:
            return self._host_tensor(value)
        if self.const(value) is not None:
            return self._leaf(value)
        raise ModelError(f"value {value.name!r} is used before it is computed")

    def operand(self, value: ir.Value, other: ir.Value | None = None) -> str:
        """The value as an operand of broadcasting: a literal where it is a single number, else a tensor."""
        host = self.host(value, limit=1)
        if host is not None and host.size == 1 and not self.is_bool_or_unsigned(value):
            rank = self.rank(other)
            other_is_tensor = other is not None and other in self._tensors
            if other_is_tensor and (host.ndim <= (1 if rank is None else rank)):
                return symbols.inner(host.reshape(-1)[0])
        return self(value)

    def is_bool_or_unsigned(self, value: ir.Value) -> bool:
        """Dtypes for which torch would promote a Python number in another way than ONNX."""
        return self.dtype(value) in ("bool", "uint16", "uint32", "uint64")

    def ints(self, value: ir.Value | None) -> str:
        """A one-dimensional integer input as the text of a Python list."""
        host = self.host(value)
        if host is not None:
            return f"[{', '.join(symbols.text(entry) for entry in host.reshape(-1))}]"
        return f"{self(value)}.tolist()"

    def axes(self, node: Node, index: int, attribute: str = "axes") -> list[int] | None:
        """Axes from an attribute or, in newer opsets, from a constant input; None where neither is given."""
        given = node.ints(attribute)
        if given is not None or not node.has(index):
            return given
        array = self.const(node.input(index))
        if array is None:
            raise node.refuse(f"its {attribute} are computed by the network")
        return [int(entry) for entry in array.reshape(-1)]

    def size(self, value: ir.Value, axis: int) -> int | symbols.Sym:
        """One size: a number where it is known, else a local variable that reads it."""
        shape = self.shape(value)
        if shape is not None and shape[axis] is not None:
            return int(shape[axis] or 0)
        if shape is not None:
            axis %= len(shape)
        key = (self._tensors[value], axis)
        if key not in self._sizes:
            vid = self.new_value(None, "nchw"[axis] if shape is not None and len(shape) == 4 and axis != 1 else "size")
            self.statements.append(Statement([vid], f"{self(value)}.size({axis})"))
            self._sizes[key] = symbols.Sym(value_token(vid))
        return self._sizes[key]

    # Writing

    def new_value(self, value: ir.Value | None, hint: str = "") -> int:
        """A fresh value number for `value`."""
        vid = len(self._values)
        self._values.append(value)
        if hint:
            self._hints[vid] = hint
        if value is not None:
            self._tensors[value] = vid
        return vid

    def write(self, node: Node, text: str, *, compound: bool = False, out: int = 0) -> None:
        """Write `output = text` for one output of the node."""
        self.statements.append(Statement([self.new_value(node.outputs[out])], text, compound))

    def write_many(self, node: Node, text: str, count: int | None = None) -> None:
        """Write `a, b, ... = text` for the node's outputs."""
        outs = node.outputs[:count]
        self.statements.append(Statement([self.new_value(out) for out in outs], text, inline=False))

    def unpack(self, targets: list[int | tuple[int, ...]], text: str) -> None:
        """Write `a, b = text`; a tuple among the targets is one result that holds several values."""
        flat = [target if isinstance(target, int) else self.new_value(None, "state") for target in targets]
        self.statements.append(Statement(flat, text, inline=False))
        for target, vid in zip(targets, flat, strict=True):
            if not isinstance(target, int):
                self.statements.append(Statement(list(target), value_token(vid), inline=False))

    def forget(self, values: Iterable[ir.Value]) -> None:
        """Drop what is known of values that are about to be computed again: the body of an unrolled loop."""
        for value in values:
            for table in (self._tensors, self._consts, self._hosts, self._dims):
                table.pop(value, None)

    def local(self, text: str, hint: str, *, compound: bool = False, inline: bool = True) -> str:
        """Write an intermediate value and return its token."""
        vid = self.new_value(None, hint)
        self.statements.append(Statement([vid], text, compound, inline))
        return value_token(vid)

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

    def device(self) -> str:
        """The text of the device that the network's input is on."""
        return f"{value_token(0)}.device"

    def nonnegative(self, node: Node, index: int, data: ir.Value | None, axis: int) -> str:
        """Indices into `axis` of `data`, where negative ones count from the end (torch's gather takes none)."""
        where = node.inputs[index]
        known = self.frozen(where)
        if known is not None and (known >= 0).all():
            return self(where) if self.dtype(where) == "int64" else f"{self(where)}.long()"
        size = f"{self(data)}.size({axis})"
        return f"torch.where({self(where)} < 0, {self(where)} + {size}, {self(where)}).long()"

    def set_shape(self, output: ir.Value, shape: Sequence[int | None]) -> None:
        """Note the shape of an output that shape inference left open."""
        self._dims[output] = tuple(shape)

    def helper(self, name: str) -> str:
        """Use a function of the prelude: it is written into the source. Returns its name."""
        self.helpers.add(name)
        return name

    def module(
        self, node: Node, cls: str, args: list[str], tensors: dict[str, tuple[ir.Value, Binding]],
        *, kind: str, widths: dict[int, ir.Value | None] | None = None, uses: Sequence[ir.Value] = (),
    ) -> str:  # fmt: skip
        """Make a submodule and return its token; the same weights with the same arguments give the same submodule.

        One of vectors only (a normalisation) is never shared: exporters store equal vectors of different layers once.
        """
        origins = tuple((attr, self.origin(value), binding.part) for attr, (value, binding) in tensors.items())
        key = (cls, tuple(args), origins)
        is_layer = any(self._consts[value].array.ndim > 1 for value, _ in tensors.values())
        if key in self._shared and is_layer:
            self._escaped.update(self._tensors[value] for value in node.inputs if value in self._tensors)
            known = self.submodules[self._shared[key]].tensors
            for attr, (_, binding) in tensors.items():
                known[attr] = replace(known[attr], uses=known[attr].uses + binding.uses)
            return module_token(self._shared[key])
        mid = len(self.submodules)
        named = {attr: self._consts[value].name for attr, (value, _) in tensors.items()}
        is_named = any(
            not names.is_generated(self._consts[v].name) for v, _ in tensors.values() if (self.rank(v) or 0) > 1
        )
        path = self.paths.for_module(node, named, kind, shared=not (is_layer and is_named))
        submodule = Submodule(mid, path, cls, args)
        for attr, (value, binding) in tensors.items():
            if self._consts[value].origin is None:
                self.constants[".".join((*path, attr))] = binding.to_tensor(self._consts[value].array)
                binding = replace(binding, constant=True)
            elif self._consts[value].array.ndim > 1:
                mark = (self.origin(value), binding.part, binding.rows, binding.transpose, binding.shape)
                first = self._tied.setdefault(mark, ".".join((*path, attr)))
                binding = replace(binding, tied=first if first != ".".join((*path, attr)) else "")
            submodule.tensors[attr] = binding
        submodule.widths = {
            position: self._tensors[value]
            for position, value in (widths or {}).items()
            if value is not None and value in self._tensors
        }
        self.submodules[mid] = submodule
        self._shared[key] = mid
        if submodule.widths:
            self._sized.add(node.raw)
        return module_token(mid)

    def bind(self, node: Node, index: int, **how: object) -> tuple[ir.Value, Binding]:
        """An input of a node that becomes a submodule's tensor; see `Binding` for the keywords."""
        value = node.input(index)
        if value is None or self.const(value) is None:
            raise node.refuse(f"input {index} is not a constant")
        first = next((out.name for out in node.outputs if out.name), "") or ""
        return value, Binding(self.origin(value), uses=((first, index),), **how)  # type: ignore[arg-type]

    def origin(self, value: ir.Value) -> str:
        """The name of the initializer (or Constant output) that holds a constant; its own name where it was folded."""
        found = self._consts[value]
        return (found.origin.name if found.origin is not None else value.name) or ""

    def is_weight(self, value: ir.Value | None) -> bool:
        """Whether a constant comes from the file as a floating point tensor."""
        array = self.const(value)
        if value is None or array is None or self._consts[value].origin is None:
            return False
        return self.dtype(value) in ("float32", "float64", "float16", "bfloat16")

    def dtype_name(self, node: Node, code: int) -> str:
        """The torch dtype's name of an ONNX dtype's number."""
        name = ir.DataType(code).name
        if name not in DTYPES:
            raise node.refuse(f"PyTorch has no dtype for {name}")
        return DTYPES[name]

    def count_outputs(self, module: str, position: int, value: ir.Value) -> None:
        """Note that argument `position` of a submodule counts the channels of `value`."""
        self.submodules[tokens(module, "m")[0]].widths[position] = self._tensors[value]

    def same_channels(self, a: ir.Value | None, b: ir.Value | None) -> None:
        """Note that two values have the same channels."""
        if a in self._tensors and b in self._tensors:
            self._parent[self._find(self._tensors[a])] = self._find(self._tensors[b])

    # The walk

    def run(self) -> Program:
        """Emit the whole graph."""
        graph = self.model.graph
        inputs: list[tuple[int, str]] = []
        taken: set[str] = set()
        real = [value for value in graph.inputs if value.name not in graph.initializers]
        for value in real:
            name = "x" if len(real) == 1 else names.identifier(value.name or "", "x")
            inputs.append((self.new_value(value), names.unique(name, taken)))
        self.nodes(graph)
        outputs = [self(value) for value in graph.outputs]
        shapes = {vid: self._shape_comment(value) for vid, value in enumerate(self._values) if value is not None}
        self._escaped.update(self._tensors[v] for v in [*real, *graph.outputs] if v in self._tensors)
        channels = {vid: self._find(vid) for vid in range(len(self._values))}
        return Program(
            self.name, self.statements, self.submodules, inputs, outputs, shapes, self._hints, self.helpers,
            self.constants, channels, {self._find(vid) for vid in self._escaped},
        )  # fmt: skip

    def nodes(self, graph: ir.Graph) -> None:
        """Emit the nodes of a graph or of an inlined subgraph."""
        fused, inner = fusions.find(graph)
        for ir_node in graph:
            if ir_node in fused:
                name, x = fused[ir_node]
                if x not in self._consts:
                    self._fused(Node(ir_node, self.opsets.get("", 1)), name, x)
                    continue
            if ir_node not in self.skip and ir_node not in inner:
                self._node(Node(ir_node, self.opsets.get(ir_node.domain, 1)))

    def _fused(self, node: Node, function: str, x: ir.Value) -> None:
        """Write a chain of nodes as one function of x."""
        self.write(node, f"{function}({self(x)})")
        shape = self.shape(x)
        if shape is not None:
            self._dims.setdefault(node.outputs[0], shape)
        self.same_channels(x, node.outputs[0])

    def _node(self, node: Node) -> None:
        domain = node.raw.domain
        rule = registry.lookup(
            domain, node.op, node.version if domain in self.opsets or domain else self.opsets.get("", 1)
        )
        if rule is None:
            raise node.refuse("this operator has no PyTorch form")
        if fold(self, node):
            return
        if not self._sizes_only(node):
            rule.handler(self, node)
        self._unite(node)
        self._note_rank(node)

    def _note_rank(self, node: Node) -> None:
        """The rank of a result where shape inference gave up: that of the operand with the most axes."""
        out = node.outputs[0]
        if node.op not in _KEEPS_RANK or out not in self._tensors or self.shape(out) is not None:
            return
        ranks = [self.rank(value) for value in node.inputs if value is not None]
        if ranks and None not in ranks:
            self._dims[out] = (None,) * max(rank or 0 for rank in ranks)

    def _sizes_only(self, node: Node) -> bool:
        if node.op not in symbols.ELEMENTWISE or not any(self.symbolic(value) for value in node.inputs):
            return False
        arrays = [self.host(value) for value in node.inputs]
        if any(array is None for array in arrays):
            return False
        self.set_host(node.outputs[0], symbols.elementwise(node.op, *[array for array in arrays if array is not None]))
        return True

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

    def _host_tensor(self, value: ir.Value) -> str:
        host = self._hosts[value]
        entries = np.vectorize(symbols.text, otypes=[object])(host).tolist() if host.size else []
        body = re.sub(r"'((?:[^'\\]|\\.)*)'", lambda m: m.group(1).replace("\\x00", "\0"), repr(entries))
        found = tokens(body, "v")
        device = f", device={self.device()}" if found else ""
        return f"torch.tensor({body}, dtype=torch.{self.dtype(value)}{device})"

    def _leaf(self, value: ir.Value) -> str:
        found = self._consts[value]
        key = (self.origin(value), "" if found.array.ndim > 1 and found.origin is not None else value.name or "")
        if key in self._leaves:
            return module_token(self._leaves[key])
        if found.array.dtype.kind in "OSU":
            raise ModelError(f"constant {value.name!r} holds strings, which PyTorch has no tensors for")
        trains = self.trains(value)
        mid = len(self.submodules)
        path = self.paths.for_tensor(found.name)
        shape = ", ".join(str(dim) for dim in found.array.shape)
        dtype = self.dtype(value)
        kwarg = "" if dtype == "float32" else f", dtype=torch.{dtype}"
        inner = f"torch.{'empty' if trains else 'zeros'}({shape or '()'}{kwarg})"
        binding = Binding(self.origin(value), constant=found.origin is None)
        self.submodules[mid] = Submodule(mid, path, "nn.Parameter" if trains else "nn.Buffer", [inner], {"": binding})
        if binding.constant:
            self.constants[".".join(path)] = found.array
        self._leaves[key] = mid
        return module_token(mid)

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

    def _find(self, vid: int) -> int:
        while self._parent.get(vid, vid) != vid:
            vid = self._parent[vid]
        return vid

    def _unite(self, node: Node) -> None:
        """Note which values have the same channels, and which groups of them an entry of the table can't describe."""
        out, shape = node.outputs[0], self.shape(node.outputs[0])
        operands = [value for value in node.inputs if value is not None]
        tensors = [value for value in operands if value in self._tensors]
        if out not in self._tensors or (node.raw in self._sized and node.op in _MAKES_CHANNELS):
            return
        keeps = node.op in _KEEPS_CHANNELS and shape is not None and len(shape) > 1 and shape[1] is not None
        if node.op == "Reshape":
            keeps = keeps and self.statements[-1].text.endswith(".flatten(1)")
        if any(
            value not in self._tensors and len(self.shape(value) or ()) > 0 and node.op in _BROADCASTS
            for value in operands
        ):
            keeps = keeps and all((self.const(value) is None or self.const(value).size == 1) for value in operands)  # type: ignore[union-attr]
        width = shape[1] if shape is not None and len(shape) > 1 else None
        same = [v for v in tensors if len(other := self.shape(v) or ()) > 1 and other[1] == width]
        if keeps and len(same) == len(tensors):
            for value in same:
                self.same_channels(value, out)
        else:
            self._escaped.update(self._tensors[value] for value in [*tensors, *node.outputs] if value in self._tensors)
