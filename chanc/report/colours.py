"""Colours that are readable on a white and on a dark page, computed in OKLCH (Ottosson 2020) and given as #rrggbb."""

from __future__ import annotations

import math

GOLDEN_ANGLE = 137.50776405003785


def oklch(lightness: float, chroma: float, hue: float) -> str:
    """Return the sRGB colour #rrggbb of an OKLCH triple (lightness 0..1, hue in degrees), clipped into the gamut."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(channel)):02x}" for channel in linear)


def _gamma(linear: float) -> float:
    linear = min(1.0, max(0.0, linear))
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def depth_colour(index: int, count: int) -> str:
    """Return the colour of item `index` of `count` ordered ones: blue for the first, through purple, to orange."""
    fraction = index / (count - 1) if count > 1 else 0.0
    return oklch(0.60 + 0.08 * fraction, 0.17, (255 + 175 * fraction) % 360)


def group_colour(index: int) -> str:
    """Return the colour of unordered item `index`: neighbours differ by the golden angle and in lightness."""
    return oklch((0.62, 0.71, 0.54)[index % 3], (0.16, 0.13)[index // 3 % 2], (30 + GOLDEN_ANGLE * index) % 360)


def sequential(count: int = 32) -> list[str]:
    """Return a dark-to-light scale of `count` colours for heat maps, even in lightness."""
    return [
        oklch(0.28 + 0.62 * part, 0.08 + 0.30 * part * (1 - part), 290 - 190 * part)
        for part in (step / (count - 1) for step in range(count))
    ]
