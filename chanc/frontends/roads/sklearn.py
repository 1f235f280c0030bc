"""`sklearn:PACKAGE.MODULE:FACTORY`: a fitted multilayer perceptron of scikit-learn, alone or at the end of a Pipeline.

skl2onnx writes it. Of a classifier the probabilities are kept: labels are no output that can be trained. Its own
operator for a Scaler goes into the first layer, else it becomes a Sub and a Mul: a training would move these, and a
pixel that is hardly ever set would explode. Where a shape of images is given, as 1,1,8,8, a Flatten stands in front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError
from chanc.frontends.factories import made
from chanc.frontends.foreign import Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def write(job: Job) -> Written:
    """Write an estimator; its input is `input` [N, features], or images [N, ...] of as many pixels."""
    require(sklearn="scikit-learn", skl2onnx="skl2onnx")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import BaseEstimator, is_classifier

    model: Any = made("sklearn", job.target, job.options, BaseEstimator, "an estimator of scikit-learn")
    if not hasattr(model, "n_features_in_"):
        raise ChancError(f"{job.target} isn't fitted yet")
    shape = job.shapes[0] if job.shapes else (1, model.n_features_in_)
    if math.prod(shape[1:]) != model.n_features_in_:
        raise ChancError(f"it takes {model.n_features_in_} features, and an input of {list(shape[1:])} has others")
    options = {"zipmap": False} if is_classifier(model) else {}
    types = [("input", FloatTensorType([None, model.n_features_in_]))]
    proto = to_onnx(model, initial_types=types, options={id(model): options}, target_opset=job.opset or 18)
    _keep_last_output(proto.graph)
    _write_scalers_out(proto.graph)
    _flatten(proto.graph, shape)
    job.path.write_bytes(proto.SerializeToString())
    (example,) = job.examples([shape])
    rows = example.reshape(len(example), -1)
    answer = model.predict_proba(rows) if is_classifier(model) else model.predict(rows)
    return Written([example], [answer.reshape(len(answer), -1).astype("float32")], ("sklearn", "skl2onnx"))


def _flatten(graph: GraphProto, shape: Sequence[int]) -> None:
    """Images in place of the vectors that the graph takes."""
    from onnx import TensorProto, helper

    if len(shape) == 2:
        return
    name = graph.input[0].name
    for node in graph.node:
        for place, used in enumerate(node.input):
            node.input[place] = f"{name}.flat" if used == name else used
    graph.node.insert(0, helper.make_node("Flatten", [name], [f"{name}.flat"]))
    graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, *shape[1:]]))


def _keep_last_output(graph: GraphProto) -> None:
    """Without the other outputs and the nodes that make nothing else."""
    del graph.output[:-1]
    needed = {graph.output[0].name}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.insert(0, node)
    del graph.node[:]
    graph.node.extend(nodes)


def _write_scalers_out(graph: GraphProto) -> None:
    """Y = (X - offset) * scale in ONNX's own operators."""
    for scaler in [node for node in graph.node if node.op_type == "Scaler"]:
        place = list(graph.node).index(scaler)
        parts = [] if _folded(graph, scaler) else _arithmetic(graph, scaler)
        graph.node.remove(scaler)
        for part in reversed(parts):
            graph.node.insert(place, part)


def _folded(graph: GraphProto, scaler: NodeProto) -> bool:
    """Y W + b = X (scale W) + (b - (offset scale) W), where a layer alone reads Y; says whether one does."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in scaler.attribute}
    product = first = _reader(graph, scaler.output[0])
    while product is not None and product.op_type == "Cast":
        product = _reader(graph, product.output[0])
    total = _reader(graph, product.output[0]) if product is not None else None
    if first is None or product is None or total is None or (product.op_type, total.op_type) != ("MatMul", "Add"):
        return False
    w, b = (next((weights[name] for name in node.input if name in weights), None) for node in (product, total))
    if w is None or b is None:
        return False
    matrix, bias = (numpy_helper.to_array(tensor).astype("float64") for tensor in (w, b))
    bias = bias - [x * y for x, y in zip(given["offset"], given["scale"], strict=True)] @ matrix
    for tensor, array in ((w, matrix * [[x] for x in given["scale"]]), (b, bias)):
        tensor.CopyFrom(numpy_helper.from_array(array.astype("float32"), tensor.name))
    first.input[list(first.input).index(scaler.output[0])] = scaler.input[0]
    return True


def _reader(graph: GraphProto, name: str) -> NodeProto | None:
    """The node that alone reads a value."""
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 else None


def _arithmetic(graph: GraphProto, scaler: NodeProto) -> list[NodeProto]:
    from onnx import TensorProto, helper

    source, result = scaler.input[0], scaler.output[0]
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in scaler.attribute}
    names = [f"{result}.{name}" for name in ("offset", "scale")]
    for name, kind in zip(names, ("offset", "scale"), strict=True):
        graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [len(given[kind])], given[kind]))
    centred = f"{result}.centred"
    return [
        helper.make_node("Sub", [source, names[0]], [centred]),
        helper.make_node("Mul", [centred, names[1]], [result]),
    ]


FRONTENDS.add("sklearn", Foreign(write, "sklearn:PACKAGE.MODULE:FACTORY"), help="A perceptron of scikit-learn.")
