from __future__ import annotations

import pytest

from chanc.study.space import Limits, SearchGroup, generator, scale_under
from chanc.testing.samplers import example_space

PLAIN = SearchGroup("a", 32)


@pytest.mark.parametrize(
    ("width", "rounded"), [(17, 16), (18, 18), (19, 20), (21, 20), (23, 24), (25, 24), (33, 32), (35, 36)]
)
def test_rounding_is_half_to_even_of_pairs(width: int, rounded: int) -> None:
    assert Limits().fit(width, PLAIN) == rounded


def test_clamped_to_the_bounds() -> None:
    assert Limits().fit(3, PLAIN) == 16
    assert Limits().fit(3000, PLAIN) == 256


def test_bounds_are_multiples_inside_the_range() -> None:
    limits = Limits(min_width=16, max_width=100, round_to=8)
    assert limits.bounds(SearchGroup("g", 48, 12)) == (24, 96)
    assert limits.fit(30, SearchGroup("g", 48, 12)) == 24
    assert limits.fit(99, SearchGroup("g", 48, 12)) == 96


def test_a_step_above_the_maximum_leaves_one_width() -> None:
    assert Limits(max_width=64).bounds(SearchGroup("g", 480, 120)) == (120, 120)


def test_odd_widths_where_asked() -> None:
    assert Limits(min_width=1, round_to=1).fit(17, PLAIN) == 17


def test_scale_under_is_the_largest_below() -> None:
    space, limits = example_space(), Limits(min_width=2, max_width=512)
    target = 20_000
    below = scale_under(space, limits, space.widths, target, "params")
    reached = {space.count(limits.scale(space, space.widths, 0.2 + i / 2000), "params") for i in range(3000)}
    assert space.count(below, "params") == max(count for count in reached if count <= target)


def test_scale_under_stops_at_the_bounds() -> None:
    space, limits = example_space(), Limits()
    assert scale_under(space, limits, space.widths, 1, "params") == {"a": 16, "b": 16, "c": 24}
    assert scale_under(space, limits, space.widths, 10**12, "macs") == {"a": 256, "b": 256, "c": 252}


def test_generator_depends_on_all_three() -> None:
    draws = {generator(*key).random() for key in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]}
    assert len(draws) == 4
    assert generator(4, 2, "x").random() == generator(4, 2, "x").random()
