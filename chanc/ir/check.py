"""The deep check of a model at the command line's door: operators, attributes, and shapes that contradict each other.

onnx's own checker and strict shape inference do the work, on a copy in which big weights are graph inputs of the same
shape, so the cost doesn't grow with the weights. Shapes that the file declares of inner tensors may be stale: they are
left out and inferred anew. onnx's inference lets a convolution of the wrong channels pass: those are compared here
(operator specification of Conv and ConvTranspose), and so are the axes of a Transpose. What onnx doesn't know and
onnxruntime takes is a model as well.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator

import onnx
import onnx_ir as ir

from chanc.boundary import boundary
from chanc.errors import ModelError
from chanc.ir.save import enumerate_initializers, stub_proto
from chanc.ir.screen import no_data
from chanc.ir.signature import ONNX
from chanc.ir.verify import verify

Shapes = dict[str, tuple[int | None, ...]]


@boundary("the check")
def check(model: ir.Model) -> None:
    """Refuse a model whose operators, attributes or shapes are wrong; the model isn't changed.

    Raises:
        ModelError: one line with the node, or the tensor, and what is wrong with it.
    """
    verify(model)
    for _, tensor in enumerate_initializers(model):
        if no_data(tensor):
            raise ModelError(f"initializer {tensor.name!r} has a shape but no data (its weights were stripped)")
    proto = stub_proto(model)
    _open_dims(proto.graph)
    _forget_shapes(proto.graph, inputs=False)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        if all(_has_shape(value) for value in inferred.graph.input):
            onnx.checker.check_model(_checkable(inferred))
    except Exception as error:
        reason = _wrong_channels(_inferred(proto))
        if reason is not None or not _onnxruntime_takes(proto):
            raise ModelError(f"not a valid model: {reason or _line(error)}") from error
        return
    reason = _wrong_channels(inferred.graph)
    if reason is not None:
        raise ModelError(f"not a valid model: {reason}")


def _inferred(proto: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the shapes that can be inferred in spite of what is wrong with it."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except Exception:
        return proto.graph


def _onnxruntime_takes(proto: onnx.ModelProto) -> bool:
    """Whether onnxruntime is there and can load the model: it writes operators of its own into ONNX's domain."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _called(node: onnx.NodeProto) -> str:
    name = node.name or next((output for output in node.output if output), "")
    return f"{node.op_type} {name!r}"


def _forget_shapes(graph: onnx.GraphProto, inputs: bool = True) -> None:
    """Without the shapes declared of what ONNX's own operators make, and of the inputs of bodies."""
    known = {name for node in graph.node if node.domain in ONNX for name in node.output}
    kept = [value for value in graph.value_info if value.name not in known]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    for value in (*graph.output, *(graph.input if inputs else ())):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for body in _bodies(node):
            _forget_shapes(body)


def _wrong_channels(graph: onnx.GraphProto) -> str | None:
    """The first node that doesn't fit the channels, or the axes, of its input, and how."""
    shapes = _shapes(graph)
    for node in graph.node:
        rule = _CHANNELS.get(node.op_type) if node.domain in ONNX else None
        reason = rule(node, shapes) if rule is not None else None
        if reason is not None:
            return f"{_called(node)}: {reason}"
    return None


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return not value.type.HasField("tensor_type") or bool(value.type.tensor_type.HasField("shape"))


def _checkable(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the outputs of unknown shape: the checker wants one, real models often have none, and run."""
    kept = [value for value in proto.graph.output if value.type.WhichOneof("value") and _has_shape(value)]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return proto


def _open_dims(graph: onnx.GraphProto) -> None:
    """Dimensions of -1 or 0 on graph inputs mean "any" to some exporters; onnx would take them for sizes."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")


def _shapes(graph: onnx.GraphProto) -> Shapes:
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if value.type.HasField("tensor_type") and kind.HasField("shape"):
            dims = kind.shape.dim
            shapes.setdefault(value.name, tuple(d.dim_value if d.HasField("dim_value") else None for d in dims))
    return shapes


def _conv(node: onnx.NodeProto, shapes: Shapes) -> str | None:
    """W: [O, I/group, ...] for Conv; group divides O."""
    data, weight = _operands(node, shapes)
    group = _group(node)
    if weight is None or len(weight) < 3:
        return None
    if data is not None and len(data) > 1 and _differ(data[1], _times(weight[1], group)):
        return f"the input has {data[1]} channels, the weight {list(weight)} takes {weight[1]} x {group} groups"
    return f"{weight[0]} output channels don't divide into {group} groups" if (weight[0] or group) % group else None


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> str | None:
    """W: [I, O/group, ...] for ConvTranspose; group divides I."""
    data, weight = _operands(node, shapes)
    group = _group(node)
    if weight is None or len(weight) < 3:
        return None
    if data is not None and len(data) > 1 and _differ(data[1], weight[0]):
        return f"the input has {data[1]} channels, the weight {list(weight)} takes {weight[0]}"
    return f"{weight[0]} input channels don't divide into {group} groups" if (weight[0] or group) % group else None


def _operands(
    node: onnx.NodeProto, shapes: Shapes
) -> tuple[tuple[int | None, ...] | None, tuple[int | None, ...] | None]:
    return shapes.get(node.input[0]), shapes.get(node.input[1])


def _group(node: onnx.NodeProto) -> int:
    return max(1, next((int(attribute.i) for attribute in node.attribute if attribute.name == "group"), 1))


def _times(size: int | None, factor: int) -> int | None:
    return None if size is None else size * factor


def _differ(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b


def _transpose(node: onnx.NodeProto, shapes: Shapes) -> str | None:
    """A permutation names every axis once."""
    shape = shapes.get(node.input[0])
    order = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), None)
    if shape is None or order is None or sorted(order) == list(range(len(shape))):
        return None
    return f"perm {order} is no order of the {len(shape)} axes of its input"


_CHANNELS: dict[str, Callable[[onnx.NodeProto, Shapes], str | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Transpose": _transpose,
}


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ShapeInferenceError\] (Inference error\(s\): )?", "", text)
    text = re.sub(r"==> Context:.*$", "", text)
    # Strict inference lists every node; the first one is the cause.
    return re.sub(r"(?<=.)\(op_type:.*$", "", text)[:400].strip() or type(error).__name__
