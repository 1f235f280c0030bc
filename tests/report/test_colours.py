from __future__ import annotations

from itertools import pairwise

import pytest

from chanc.report.colours import depth_colour, group_colour, oklch, sequential


def luminance(colour: str) -> float:
    def linear(part: int) -> float:
        value = part / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_oklch_known_colours():
    assert oklch(1, 0, 0) == "#ffffff"
    assert oklch(0, 0, 0) == "#000000"
    # the OKLCH coordinates of sRGB's pure red
    assert oklch(0.627955, 0.257683, 29.2339) == "#ff0000"


@pytest.mark.parametrize("page", ["#ffffff", "#14171c"])
def test_lines_and_bars_stand_out_on_both_pages(page):
    # graphics need less than text, but 2:1 is where a thin line starts to vanish
    assert min(contrast(depth_colour(i, 40), page) for i in range(40)) > 2.0
    assert min(contrast(group_colour(i), page) for i in range(200)) > 2.0


def test_neighbouring_groups_differ():
    colours = [group_colour(i) for i in range(150)]
    assert len(set(colours)) == 150
    steps = [
        sum(abs(int(a[at : at + 2], 16) - int(b[at : at + 2], 16)) for at in (1, 3, 5)) for a, b in pairwise(colours)
    ]
    assert min(steps) > 90


def test_the_scale_of_a_map_gets_steadily_lighter():
    lights = [luminance(colour) for colour in sequential(32)]
    assert lights == sorted(lights)
    assert lights[-1] > 10 * lights[0]
