"""MTCNN's first network with what its users write behind it, inside the graph: boxes decoded, and picked by NMS.

    regression [1, W, H, 4], probability [1, W, H, 2]  ->  boxes of a grid  ->  NonMaxSuppression  ->  [K, 4] and [K]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

STRIDE, CELL = 2, 12
"""Pixels from one place of the network to the next, and that a place sees."""
THRESHOLD, OVERLAP, MOST = 0.6, 0.5, 20
"""Least probability of a face, largest overlap of two boxes, most boxes of a picture."""


def with_nms(path: Path, out: Path, size: int) -> Path:
    """The network for one picture of size x size pixels; it returns the boxes of faces, in pixels, and their scores."""
    model = onnx.load(path)
    graph = model.graph
    raw, probability = (value.name for value in graph.output)
    places = (size - CELL) // STRIDE + 1
    for value in graph.input:
        del value.type.tensor_type.shape.dim[:]
        for length in (1, size, size, 3):
            value.type.tensor_type.shape.dim.add().dim_value = length
    corner = STRIDE * np.stack(np.meshgrid(np.arange(places), np.arange(places), indexing="ij"), -1).reshape(1, -1, 2)
    constants = {
        "grid": np.concatenate([corner, corner + CELL], -1).astype(np.float32), "cell": np.float32(CELL),
        "boxes_shape": np.array([1, -1, 4]), "scores_shape": np.array([1, -1, 2]), "face": np.array([1]),
        "most": np.array([MOST]), "overlap": np.float32([OVERLAP]), "threshold": np.float32([THRESHOLD]),
        "place": np.array(2), "flat": np.array([-1]), "first": np.array([0]),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    node = helper.make_node
    graph.node.extend([
        node("Reshape", [raw, "boxes_shape"], ["moves"]),
        node("Mul", ["moves", "cell"], ["shifts"]),
        node("Add", ["shifts", "grid"], ["all_boxes"]),
        node("Reshape", [probability, "scores_shape"], ["both"]),
        node("Gather", ["both", "face"], ["of_face"], axis=2),
        node("Transpose", ["of_face"], ["all_scores"], perm=[0, 2, 1]),
        node("NonMaxSuppression", ["all_boxes", "all_scores", "most", "overlap", "threshold"], ["picked"]),
        node("Gather", ["picked", "place"], ["numbers"], axis=1),
        node("Squeeze", ["all_boxes"], ["box_rows"], axes=[0]),
        node("Gather", ["box_rows", "numbers"], ["boxes"], axis=0),
        node("Reshape", ["all_scores", "flat"], ["score_row"]),
        node("Gather", ["score_row", "numbers"], ["scores"], axis=0),
    ])  # fmt: skip
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, ["faces", 4]))
    graph.output.append(helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["faces"]))
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return out


def picked_again(one: Path, other: Path, pictures: Mapping[str, NDArray[np.float32]]) -> list[int]:
    """How many boxes two models pick in all pictures, and how many of the first's have one of the second's there."""
    from chanc.backends import ort

    sessions, counts = [ort.session(path, threads=1) for path in (one, other)], np.zeros(3, int)
    ((name, images),) = pictures.items()
    for image in images:
        mine, theirs = (ort.run(opened, {name: image[None]})[0] for opened in sessions)
        counts += [len(mine), len(theirs), int((overlaps(mine, theirs) >= 0.5).any(1).sum())]
    return [int(count) for count in counts]


def overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of all pairs of boxes: [len(one), len(other)]."""
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), -1) for boxes in (one, other)]
    found: NDArray[np.float32] = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    return found
