"""What only the low bits of 16 tell is learned: nothing between the picture and the network rounds to 8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

import chanc  # noqa: E402
from chanc.ir import save  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402


@pytest.mark.nightly
def test_classes_that_differ_by_less_than_a_level_of_8_bits_are_told_apart(tmp_path: Path) -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8).relu()
    save(graph.ir(x.gap().flatten().gemm(2)), tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 10)):
        for number in range(2 * count):
            # 100 of 65,535 is 0.4 of 255: all pixels are 78 where they are rounded
            pixels = 20000 + random.integers(0, 60, (8, 8)) + 100 * (number % 2)
            folder = tmp_path / "set" / part / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint16)).save(folder / f"{number}.png")
    trained = chanc.train(tmp_path / "model.onnx", tmp_path / "set", epochs=20, batch_size=16, seed=0, device="cpu")
    assert trained.before == 0.5
    assert trained.top1 == 1.0
