"""A detector of one picture at a time, with anchors, decoding and NMS in the graph: what it finds stays found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from chanc.backends import ort
from chanc.cli import main
from chanc.testing.builders import build


def detector() -> onnx.ModelProto:
    """[1, 3, 32, 32] -> 64 places with an anchor each -> boxes [K, 4] of two classes, class and place [K, 3]."""
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij"), -1).reshape(1, 64, 2)
    body = """
    a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1) r = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r, w2, b2) s = Relu (c) d = Conv <pads = [1, 1, 1, 1]> (s, w3)
    e = Relu (d) p = Conv (e, wp) q = Conv (e, wq, bq)
    moves = Reshape (p, to_moves) turned = Transpose <perm = [0, 2, 1]> (moves)
    shift, grow = Split <axis = 2> (turned) wide = Exp (grow) sides = Mul (wide, four)
    where = Add (shift, grid) centres = Mul (where, four) half = Mul (sides, one_half)
    low = Sub (centres, half) high = Add (centres, half) boxes = Concat <axis = 2> (low, high)
    chance = Sigmoid (q) scores = Reshape (chance, to_scores)
    found = NonMaxSuppression (boxes, scores, most, overlap, least)
    number = Gather <axis = 1> (found, place) rows = Squeeze (boxes, first) y = Gather (rows, number)
    """
    rng = np.random.default_rng(3)
    weights = {
        "w1": (16, 3, 3, 3), "b1": (16,), "w2": (24, 16, 3, 3), "b2": (24,), "w3": (24, 24, 3, 3),
        "wp": 0.1 * rng.standard_normal((4, 24, 1, 1)), "wq": (2, 24, 1, 1), "bq": np.full(2, -1.0),
        "grid": grid + 0.5, "four": np.array(4.0), "one_half": np.array(0.5),
        "to_moves": np.array([1, 4, 64]), "to_scores": np.array([1, 2, 64]), "place": np.array(2),
        "first": np.array([0]), "most": np.array([5]), "overlap": np.array([0.5]), "least": np.array([0.4]),
    }  # fmt: skip
    floats = {name: value.astype(np.float32) for name, value in weights.items()
              if isinstance(value, np.ndarray) and value.dtype == np.float64}  # fmt: skip
    outputs = "float[K,4] y, int64[K,3] found"
    return build("float[1,3,32,32] x", outputs, body, weights | floats)


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth ones, with some bright squares."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
    for image in coarse:
        for _ in range(3):
            top, left = rng.integers(0, 24, 2)
            image[:, top : top + 8, left : left + 8] += rng.uniform(1, 3)
    return coarse.astype(np.float32)


def found_again(one: Path, other: Path, images: np.ndarray) -> tuple[int, int]:
    """Boxes of the first model, and those of which the second has one of the class within two pixels."""
    sessions, there, again = [ort.session(path) for path in (one, other)], 0, 0
    for image in images:
        (mine, of_mine), (theirs, of_theirs) = (ort.run(opened, {"x": image[None]}) for opened in sessions)
        near = np.abs(mine[:, None] - theirs[None]).max(-1) < 2
        again += int((near & (of_mine[:, None, 1] == of_theirs[None, :, 1])).any(1).sum())
        there += len(mine)
    return there, again


@pytest.mark.nightly
def test_what_it_finds_stays_found(tmp_path: Path) -> None:
    before, after, data = tmp_path / "detector.onnx", tmp_path / "half.onnx", tmp_path / "pictures.npz"
    onnx.save(detector(), before)
    np.savez(data, x=pictures(320, 0))
    main(["prune", str(before), "-o", str(after), "--max-macs", "60%", "--data", str(data), "--epochs", "20",
          "--batch-size", "16", "--quiet"])  # fmt: skip
    there, again = found_again(before, after, pictures(40, 1))
    assert there > 100
    assert again > 0.7 * there
    model = onnx.load(after)
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in onnx.load(before).graph.node]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
