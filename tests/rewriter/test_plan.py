from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chanc.analysis import Group, analyze
from chanc.errors import PlanError
from chanc.rewriter import rewrite
from chanc.rewriter.plan import MAX_WIDTH, Sizing, load_plan

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"nobody": 4}, "no channel group matches 'nobody'"),
        ({"w3": 2}, "group 'w3' can't change: it is a graph output"),
        ({"w3": {"scale": 1.0}}, "group 'w3' can't change"),
        ({"w1": 0}, "group 'w1': a width must be at least 1, not 0"),
        ({"w1": -3}, "at least 1, not -3"),
        ({"w1": MAX_WIDTH + 1}, f"{MAX_WIDTH} is the most"),
        ({"w1": {"scale": 1e12}}, f"{MAX_WIDTH} is the most"),
        ({"w1": 2.5}, "give a width"),
        ({"w1": 4.0}, "give a width"),
        ({"w1": True}, "give a width"),
        ({"w1": "8"}, "give a width"),
        ({"w1": None}, "give a width"),
        ({"w1": [0, 1]}, "give a width"),
        ({"w1": {}}, "give a width"),
        ({"w1": {"width": 3}}, "give a width"),
        ({"w1": {"scale": NAN}}, "give a width"),
        ({"w1": {"scale": INFINITY}}, "give a width"),
        ({"w1": {"scale": 0}}, "give a width"),
        ({"w1": {"scale": -0.5}}, "give a width"),
        ({"w1": {"scale": "half"}}, "give a width"),
        ({"w1": {"scale": 0.5, "keep": [0]}}, "give a width"),
        ({"w1": {"first": 0}}, "group 'w1': a width must be at least 1, not 0"),
        ({"w1": {"first": 2.5}}, "give a width"),
        ({"w1": {"first": MAX_WIDTH + 1}}, f"{MAX_WIDTH} is the most"),
        ({"w1": {"keep": []}}, '"keep" must be a list of channels'),
        ({"w1": {"keep": "all"}}, '"keep" must be a list of channels'),
        ({"w1": {"keep": 3}}, '"keep" must be a list of channels'),
        ({"w1": {"keep": [0, 1.5]}}, '"keep" must be a list of channels'),
        ({"w1": {"keep": [True]}}, '"keep" must be a list of channels'),
        ({"w1": {"keep": [0, 8]}}, "group 'w1' has channels 0 to 7"),
        ({"w1": {"keep": [-1]}}, "group 'w1' has channels 0 to 7"),
        ([4], "a plan maps group ids to widths"),
        ("w1", "a plan maps group ids to widths"),
    ],
)
def test_every_wrong_plan_is_one_clear_line(plain, plan: Any, says: str) -> None:
    with pytest.raises(PlanError) as error:
        rewrite(plain(), plan)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"w1": 6}, "a width must be a multiple of its step 4, not 6"),
        ({"w1": {"first": 6}}, "a width must be a multiple of its step 4, not 6"),
        ({"w1": {"keep": [0, 1, 2]}}, "changes in steps of 4 channels: keep all of a step or none"),
        ({"w1": {"keep": [0, 2, 4, 5]}}, "changes in steps of 4 channels: keep all of a step or none"),
    ],
)
def test_a_part_of_a_step_is_refused(grouped, plan: Any, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        rewrite(grouped, plan)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": NAN}, "a scale must be a number above 0, not nan"),
        ({"scale": INFINITY}, "not inf"),
        ({"scale": 0}, "not 0"),
        ({"scale": -1.0}, "not -1.0"),
        ({"scale": "half"}, "not half"),
        ({"scale": True}, "not True"),
        ({"scale": 0.5, "plan": {"w1": 4}}, "a plan or a scale, not both"),
        ({"scale": 0.5, "importance": "best"}, "no importance 'best'; there are activation, bn, first"),
        ({"scale": 0.5, "transfer": "copy"}, "no transfer 'copy'; there are grow, init, reflect, select, svd, widen"),
        ({"scale": 0.5, "round_to": 0}, "rounding must be at least 1"),
        ({"scale": 0.5, "min_width": 0}, "least width must be at least 1"),
        ({"scale": 0.5, "seed": -1}, "seed must be at least 0"),
    ],
)
def test_wrong_options_are_one_clear_line(plain, options: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as error:
        rewrite(plain(), **options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("width", "source"), [(3, [0, 1, 2]), (8, list(range(8))), (11, [*range(8), 7, 7, 7])])
def test_the_first_channels_stay_where_they_are(plain, width: int, source: list[int]) -> None:
    """What goes and what is new is at the end, whatever is important."""
    trace = rewrite(plain(), {"w1": {"first": width}}, importance="l2").trace
    assert trace.groups == {"w1": (8, width)}
    found = {axis.tolist() == source for operand in trace.operands for axis in operand.axes.values()}
    assert found == ({True} if width != 8 else set())


def test_a_pinned_group_may_be_named_at_its_own_width(plain) -> None:
    assert rewrite(plain(), {"w3": 4, "w1": 5}).trace.groups == {"w1": (8, 5)}


def test_groups_that_are_not_named_keep_their_width(plain) -> None:
    done = rewrite(plain(), {"w1": 5})
    assert {g.id: g.size for g in analyze(done.model).groups} == {"w1": 5, "w1:1": 3, "w2": 6, "w3": 4}


def test_numpy_integers_are_widths(plain) -> None:
    done = rewrite(plain(), {"w1": np.int64(5), "w2": {"keep": [np.int32(1), 3]}})
    assert done.trace.groups == {"w1": (8, 5), "w2": (6, 2)}


def test_keep_names_channels_of_the_first_producer(plain) -> None:
    done = rewrite(plain(), {"w1": {"keep": [6, 1, 2]}})
    operand = next(o for o in done.trace.operands if o.initializer == "w1")
    assert operand.axes[0].tolist() == [1, 2, 6]


def test_keep_in_steps(grouped) -> None:
    done = rewrite(grouped, {"w1": {"keep": [1, 3, 5, 7]}})
    taken = {o.initializer: {axis: s.tolist() for axis, s in o.axes.items()} for o in done.trace.operands}
    assert taken == {"w1": {0: [1, 3, 5, 7]}, "w2": {1: [1]}}


def group(size: int, step: int = 1) -> Group:
    return Group("g", size, step, True, "", True, (), np.arange(size // step))


@pytest.mark.parametrize("size", [1, 3, 6, 10, 48, 64, 100])
@pytest.mark.parametrize("scale", [0.01, 0.25, 1 / 3, 0.5, 0.75, 1.0, 1.5, 2.3])
@pytest.mark.parametrize("least", [1, 4, 16])
def test_a_scale_is_rounded_and_bounded_below(size: int, scale: float, least: int) -> None:
    assert Sizing(min_width=least).units(group(size), scale * size) == max(least, 1, round(scale * size))


@pytest.mark.parametrize("step", [1, 2, 4, 12])
@pytest.mark.parametrize("grain", [1, 4, 8])
@pytest.mark.parametrize("least", [1, 10])
def test_widths_stay_in_their_step_and_in_round_to(step: int, grain: int, least: int) -> None:
    for width in np.linspace(0.1, 200.0, 97):
        units = Sizing(grain, least).units(group(240, step), width)
        whole = math.lcm(step, grain)
        allowed = [n for n in range(whole, 300, whole) if n >= least]
        assert units * step in allowed
        assert abs(units * step - width) <= min(abs(n - width) for n in allowed) + 1e-9


def test_round_to_through_a_rewrite(plain) -> None:
    done = rewrite(plain(20, 50), scale=0.5, round_to=8)
    assert done.trace.groups == {"w1": (20, 8), "w2": (50, 24)}
    done = rewrite(plain(20, 50), scale=0.1, min_width=7)
    assert done.trace.groups == {"w1": (20, 7), "w2": (50, 7)}


def test_plan_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"w1": 4, "w2": {"scale": 0.5}}))
    assert load_plan(path) == {"w1": 4, "w2": {"scale": 0.5}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not a JSON file"),
        (b"", "is not a JSON file"),
        (b"\xff\xfe\x00", "is not a JSON file"),
        (b"[1, 2]", "does not hold an object of group ids"),
        (b'"w1"', "does not hold an object of group ids"),
    ],
)
def test_bad_plan_files_are_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanError) as error:
        load_plan(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_nan_in_a_plan_file(tmp_path: Path, plain) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"w1": {"scale": NaN}}')
    with pytest.raises(PlanError, match="give a width"):
        rewrite(plain(), load_plan(path))
