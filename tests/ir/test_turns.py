"""How many samples a model takes at a time, told by the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from chanc.ir.turns import Turns

Shapes = dict[str, Sequence[object] | None]


@pytest.mark.parametrize(("shapes", "batch"), [
    ({"x": ["N", 3]}, None),
    ({"x": [1, 3], "y": [1]}, 1),
    ({"x": ["T", 6], "state": [1, 1, 8]}, 1),
    ({"x": ["N", 6], "state": [2, "N", 8]}, None),
    ({"x": [2, 6], "state": [4, 8]}, None),
    ({"x": None, "gain": []}, None),
])  # fmt: skip
def test_the_batch(shapes: Shapes, batch: int | None) -> None:
    assert Turns.of_shapes(shapes).batch == batch


def test_parts_of_a_fixed_batch_are_filled_up() -> None:
    x = np.arange(5)[:, None]
    turns = Turns.of_shapes({"x": [2, 1]})
    assert [part["x"].ravel().tolist() for part in turns.parts({"x": x})] == [[0, 1], [2, 3], [4, 4]]
    assert [part["x"].ravel().tolist() for part in turns.parts({"x": x[:2]})] == [[0, 1]]


def test_an_open_batch_is_one_part() -> None:
    x = np.arange(5)[:, None]
    assert [part["x"].tolist() for part in Turns.of_shapes({"x": ["N", 1]}).parts({"x": x})] == [x.tolist()]


def test_an_axis_too_many_of_an_open_batch_is_no_run() -> None:
    assert not Turns.of_shapes({"x": ["N", 5]}).whole({"x": np.zeros((9, 1, 5))})
    assert Turns.of_shapes({"x": ["T", 5], "h": [1, 8]}).whole({"x": np.zeros((9, 4, 5)), "h": np.zeros((9, 1, 8))})


def test_whole_runs() -> None:
    turns = Turns.of_shapes({"x": [3, 4], "gain": []})
    runs = {"x": np.zeros((2, 3, 4)), "gain": np.array([5.0, 6.0])}
    assert turns.whole(runs)
    assert not turns.whole({"x": np.zeros((3, 4)), "gain": np.array(5.0)})
    assert [(part["x"].shape, float(part["gain"])) for part in turns.parts(runs)] == [((3, 4), 5.0), ((3, 4), 6.0)]
