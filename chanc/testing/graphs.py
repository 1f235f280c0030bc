"""Small ONNX graphs, written as chains of calls, with seeded weights and known shapes.

    graph = Graph(opset=17)
    x = graph.input("image", [1, 3, 16, 16], dynamic={0: "n"})
    y = x.conv(16).bn().relu()
    model = graph.model((y + y.conv(16)).gap().flatten().gemm(10))

Sizes are those of the input as given: a dynamic axis has one, too, but the model doesn't declare it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import defs, helper, numpy_helper, shape_inference

Array = NDArray[Any]
IR_VERSION = 10
FLOAT = int(onnx.TensorProto.FLOAT)


@dataclass
class Graph:
    """A graph in the making. `stored` says where new weights go: "initializer", or "constant" for Constant nodes.

    `scale` is the size of random weights: standard normal times scale over the square root of the fan-in.
    """

    opset: int = 17
    seed: int = 0
    stored: str = "initializer"
    scale: float = 1.4
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    domains: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self._count = 0

    def input(
        self, name: str, shape: Sequence[int], *, dynamic: Mapping[int, str] | None = None, dtype: int = FLOAT
    ) -> Tensor:
        """A graph input of these sizes; `dynamic` names the axes whose size the model leaves open."""
        declared: list[int | str] = [(dynamic or {}).get(axis, size) for axis, size in enumerate(shape)]
        self.inputs.append(helper.make_tensor_value_info(name, dtype, declared))
        return Tensor(self, name, tuple(shape), dtype)

    def constant(self, array: Array, name: str = "", *, stored: str = "") -> Tensor:
        """A weight or other constant with that content."""
        tensor = numpy_helper.from_array(np.asarray(array), name or self._name("w"))
        if (stored or self.stored) == "constant":
            self.nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
        else:
            self.weights[tensor.name] = tensor
        return Tensor(self, tensor.name, tuple(tensor.dims), tensor.data_type, tensor)

    def weight(self, *shape: int, fan_in: int = 0, name: str = "") -> Tensor:
        """A random weight: float32 of that shape."""
        values = self.rng.standard_normal(shape) * self.scale / max(fan_in, 1) ** 0.5
        return self.constant(values.astype(np.float32), name)

    def vector(self, size: int, low: float = -0.5, high: float = 0.5, *, shape: Sequence[int] = ()) -> Tensor:
        """A random vector [size], or the same numbers in `shape`; uniform in [low, high)."""
        values = self.rng.uniform(low, high, size).astype(np.float32)
        return self.constant(values.reshape(tuple(shape) or (size,)))

    def integers(self, values: Sequence[int]) -> Tensor:
        """An int64 vector."""
        return self.constant(np.array(values, dtype=np.int64), stored="initializer")

    def node(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        *,
        outputs: int = 1,
        shapes: Sequence[tuple[int, ...]] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> tuple[Tensor, ...]:
        """Any operator. Its output shapes come from ONNX's own inference, or from `shapes` for other domains."""
        names = [self._name(op.lower()) for _ in range(outputs)]
        made = helper.make_node(op, [t.name if t is not None else "" for t in inputs], names, name=names[0],
                                domain=domain, **attributes)  # fmt: skip
        self.nodes.append(made)
        if domain:
            self.domains.setdefault(domain, 1)
        if shapes is not None:
            dtype = next((t.dtype for t in inputs if t is not None), FLOAT)
            return tuple(Tensor(self, name, tuple(shape), dtype) for name, shape in zip(names, shapes, strict=True))
        return tuple(Tensor(self, name, *_shape(found)) for name, found in self._inferred(made, inputs).items())

    def op(self, name: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """A standard operator with one output."""
        return self.node(name, inputs, **attributes)[0]

    def model(self, *outputs: Tensor) -> onnx.ModelProto:
        """The model with these outputs, checked; dynamic sizes are inferred where ONNX's inference can."""
        values = [helper.make_tensor_value_info(t.name, t.dtype, [None] * len(t.shape)) for t in outputs]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, values, list(self.weights.values()))
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return shape_inference.infer_shapes(model, data_prop=True)

    def ir(self, *outputs: Tensor) -> ir.Model:
        """The model as onnx_ir holds it."""
        return ir.from_proto(self.model(*outputs))

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def _inferred(self, node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> dict[str, onnx.TypeProto]:
        schema = defs.get_schema(node.op_type, self.opset, "")
        given = [t for t in inputs if t is not None]
        types = {t.name: helper.make_tensor_type_proto(t.dtype, t.shape) for t in given}
        data = {t.name: t.content for t in given if t.content is not None}
        opsets = [helper.make_opsetid("", self.opset)]
        found = shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=opsets, ir_version=IR_VERSION
        )
        return {name: found[name] for name in node.output}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a graph: its name, sizes and element type. Methods add nodes and return what they make.

    `content` is there for constants; `size` for the result of `dim`: what it is when the model runs as given.
    """

    graph: Graph
    name: str
    shape: tuple[int, ...]
    dtype: int = FLOAT
    content: onnx.TensorProto | None = None
    size: int = 0

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        return self.shape[1]

    def op(self, name: str, *others: Tensor | None, **attributes: Any) -> Tensor:
        """A standard operator on this tensor and others."""
        return self.graph.op(name, self, *others, **attributes)

    def __add__(self, other: Tensor) -> Tensor:
        return self.op("Add", other)

    def __sub__(self, other: Tensor) -> Tensor:
        return self.op("Sub", other)

    def __mul__(self, other: Tensor) -> Tensor:
        return self.op("Mul", other)

    def __truediv__(self, other: Tensor) -> Tensor:
        return self.op("Div", other)

    def conv(
        self, out: int, kernel: int | Sequence[int] = 3, *, stride: int = 1, dilation: int = 1, groups: int = 1,
        bias: bool = True, auto_pad: str = "", weight: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Conv [N, C, ...] -> [N, out, ...], padded so that stride 1 keeps odd kernels' sizes."""
        kernels = [kernel] * (self.rank - 2) if isinstance(kernel, int) else list(kernel)
        inner = self.channels // groups
        weight = weight or self.graph.weight(out, inner, *kernels, fan_in=inner * int(np.prod(kernels)))
        attributes: dict[str, Any] = {"kernel_shape": kernels, "group": groups}
        attributes |= {"strides": [stride] * len(kernels), "dilations": [dilation] * len(kernels)}
        attributes |= {"auto_pad": auto_pad} if auto_pad else {"pads": [dilation * (k - 1) // 2 for k in kernels] * 2}
        return self.op("Conv", weight, *([self.graph.vector(out)] if bias else []), **attributes)

    def depthwise(self, kernel: int = 3, *, multiplier: int = 1, stride: int = 1, bias: bool = True) -> Tensor:
        """A convolution with a group for each channel and `multiplier` outputs of each."""
        count = self.channels
        return self.conv(count * multiplier, kernel, stride=stride, groups=count, bias=bias)

    def conv_transpose(
        self, out: int, kernel: int = 2, *, stride: int = 2, groups: int = 1, bias: bool = True
    ) -> Tensor:
        """ConvTranspose [N, C, ...] -> [N, out, ...] without padding."""
        space = self.rank - 2
        weight = self.graph.weight(self.channels, out // groups, *[kernel] * space, fan_in=self.channels // groups)
        extra = [self.graph.vector(out)] if bias else []
        square = {"kernel_shape": [kernel] * space, "strides": [stride] * space}
        return self.op("ConvTranspose", weight, *extra, group=groups, **square)

    def bn(self) -> Tensor:
        """BatchNormalization over axis 1 with random statistics."""
        n = self.channels
        made = [self.graph.vector(n, *span) for span in ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5))]
        return self.op("BatchNormalization", *made)

    def relu(self) -> Tensor:
        """Relu."""
        return self.op("Relu")

    def sigmoid(self) -> Tensor:
        """Sigmoid."""
        return self.op("Sigmoid")

    def pool(self, kind: str = "MaxPool", kernel: int = 2, stride: int = 2, **attributes: Any) -> Tensor:
        """MaxPool or AveragePool with a square kernel."""
        count = self.rank - 2
        return self.op(kind, kernel_shape=[kernel] * count, strides=[stride] * count, **attributes)

    def gap(self) -> Tensor:
        """GlobalAveragePool: [N, C, 1, ...]."""
        return self.op("GlobalAveragePool")

    def flatten(self, axis: int = 1) -> Tensor:
        """Flatten to two axes."""
        return self.op("Flatten", axis=axis)

    def gemm(self, out: int, *, transposed: bool = True, bias: bool = True) -> Tensor:
        """Gemm [N, C] -> [N, out]; the weight is [out, C] where transposed, else [C, out]."""
        size = self.shape[1]
        weight = self.graph.weight(*((out, size) if transposed else (size, out)), fan_in=size)
        return self.op("Gemm", weight, *([self.graph.vector(out)] if bias else []), transB=int(transposed))

    def linear(self, out: int, *, bias: bool = True) -> Tensor:
        """MatMul of the last axis with a weight [C, out], and an Add."""
        made = self.op("MatMul", self.graph.weight(self.shape[-1], out, fan_in=self.shape[-1]))
        return made + self.graph.vector(out) if bias else made

    def dim(self, axis: int) -> Tensor:
        """One size as it is when the model runs: int64 [1]."""
        made = self.op("Shape").op("Gather", self.graph.integers([axis]))
        return replace(made, size=self.shape[axis])

    def reshape(self, *target: int | Tensor) -> Tensor:
        """Reshape; where the target has tensors (from `dim`) it is put together by a Concat, without 0 or -1."""
        if all(isinstance(size, int) for size in target):
            return self.op("Reshape", self.graph.integers([size for size in target if isinstance(size, int)]))
        parts = [size if isinstance(size, Tensor) else self.graph.integers([size]) for size in target]
        sizes = [size.size if isinstance(size, Tensor) else size for size in target]
        shape = self.graph.op("Concat", *parts, axis=0)
        return self.graph.node("Reshape", [self, shape], shapes=[tuple(sizes)])[0]

    def transpose(self, *order: int) -> Tensor:
        """Transpose: axis k of the result is axis order[k]."""
        return self.op("Transpose", perm=list(order))

    def slice(self, axis: int, start: int, end: int, step: int = 1) -> Tensor:
        """Slice along one axis."""
        bounds = [self.graph.integers([number]) for number in (start, end, axis, step)]
        return self.op("Slice", *bounds)

    def gather(self, indices: Sequence[int], axis: int = 1) -> Tensor:
        """Gather with constant indices."""
        return self.op("Gather", self.graph.integers(indices), axis=axis)

    def split(self, *sizes: int, axis: int = 1) -> tuple[Tensor, ...]:
        """Split into parts of these sizes."""
        return self.graph.node("Split", [self, self.graph.integers(sizes)], outputs=len(sizes), axis=axis)

    def concat(self, *others: Tensor, axis: int = 1) -> Tensor:
        """Concat of this tensor and others."""
        return self.op("Concat", *others, axis=axis)

    def mean(self, *axes: int, keep: bool = True) -> Tensor:
        """ReduceMean; axes are an attribute up to opset 17 and an input from 18 on."""
        return self.reduce("ReduceMean", *axes, keep=keep)

    def reduce(self, op: str, *axes: int, keep: bool = True) -> Tensor:
        """A Reduce operator over these axes."""
        if self.graph.opset >= (13 if op == "ReduceSum" else 18):
            return self.op(op, self.graph.integers(axes), keepdims=int(keep))
        return self.op(op, axes=list(axes), keepdims=int(keep))

    def squeeze(self, *axes: int) -> Tensor:
        """Squeeze of these axes."""
        return self.op("Squeeze", self.graph.integers(axes))

    def unsqueeze(self, *axes: int) -> Tensor:
        """Unsqueeze: new axes at these positions."""
        return self.op("Unsqueeze", self.graph.integers(axes))


def _shape(found: onnx.TypeProto) -> tuple[tuple[int, ...], int]:
    tensor = found.tensor_type
    return tuple(dim.dim_value for dim in tensor.shape.dim), tensor.elem_type

