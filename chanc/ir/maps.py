"""Types that `onnx_ir` can't hold: maps, which classifiers of scikit-learn give (ZipMap: a probability a label).

They are set aside when a model is read and put back when it is written, so that the model passes through unchanged.
"""

from __future__ import annotations

import onnx

MAPS_KEY = "chanc.map_types"
"""In `Model.meta`: the types of inputs and outputs that are maps, or sequences of them, serialized, by name."""


def set_aside(graph: onnx.GraphProto) -> dict[str, bytes]:
    """Take the types with maps from a graph's values; what they were, by name."""
    found = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if _maps(value.type):
            found[value.name] = value.type.SerializeToString()
            value.ClearField("type")
    return found


def put_back(graph: onnx.GraphProto, types: dict[str, bytes]) -> None:
    """Give the values of those names their types again."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name in types:
            value.type.ParseFromString(types[value.name])


def _maps(kind: onnx.TypeProto) -> bool:
    if kind.HasField("sequence_type"):
        return _maps(kind.sequence_type.elem_type)
    if kind.HasField("optional_type"):
        return _maps(kind.optional_type.elem_type)
    return bool(kind.HasField("map_type"))
