"""What a model expects of its pixels, which is as much a part of it as its weights.

value = (pixel * scale - mean) / std        pixel: 0..255, mean and std: one number, or one a channel
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from chanc.errors import DataError

Layout = Literal["NCHW", "NHWC"]
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
Order = Literal["RGB", "BGR"]
ORDERS: tuple[Order, ...] = ("RGB", "BGR")
Word = TypeVar("Word", bound=str)
KEY = "chanc.input."
"""How the keys of a model's metadata begin: chanc.input.scale, .mean, .std, .layout, .order."""


@dataclass(frozen=True)
class InputContract:
    """How pixels (0 to 255) become a model's input, on which axis that has its channels, and in which order.

    mean, std: in the order of the input's channels. order: of three; others come as they are. Raises: DataError for
    numbers that no pixel can be normalised by.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout = "NCHW"
    order: Order = "RGB"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(f"{len(self.mean)} means and {len(self.std)} deviations of pixels don't go together")
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))) or min(self.scale, *self.std) <= 0:
            raise DataError(f"pixels can't be normalised by {self.formula}: scale and deviations must be above 0")
        if self.layout not in LAYOUTS:
            raise DataError(f"an input's layout is NCHW or NHWC, not {self.layout}")
        if self.order not in ORDERS:
            raise DataError(f"an input's colours are RGB or BGR, not {self.order}")

    @property
    def gain(self) -> tuple[float, ...]:
        """value = pixel * gain + shift: one number, or one a channel."""
        return tuple(self.scale / std for std in self.std)

    @property
    def shift(self) -> tuple[float, ...]:
        """See `gain`."""
        return tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))

    @property
    def formula(self) -> str:
        """The normalisation as one reads it: (pixels / 255 - 0.5) / 0.25."""
        inverse = 1 / self.scale if self.scale > 0 else math.inf
        scaled = "pixels" if self.scale == 1 else f"pixels / {inverse:g}" if inverse > 1 else f"pixels * {self.scale:g}"
        text = scaled if not any(self.mean) else f"{scaled} - {_numbers(self.mean, 4)}"
        return text if set(self.std) == {1.0} else f"({text}) / {_numbers(self.std, 4)}"

    def __str__(self) -> str:
        axes = "channels first" if self.layout == "NCHW" else "channels last"
        return f"{self.formula}, {axes} ({self.layout}){', blue first (BGR)' if self.order == 'BGR' else ''}"

    def blue_first(self) -> InputContract:
        """The same of the other order."""
        return replace(self, mean=self.mean[::-1], std=self.std[::-1], order="BGR" if self.order == "RGB" else "RGB")

    def fits(self, channels: int) -> None:
        """Raises: DataError where it is for another number of channels."""
        if len(self.mean) not in (1, channels):
            raise DataError(f"{len(self.mean)} means are given for pixels of {channels} channels")
        if self.order == "BGR" and channels != 3:
            raise DataError(f"pixels of {channels} channels have no blue that could come first (BGR)")

    def metadata(self) -> dict[str, str]:
        """The entries of a model's metadata, to the last bit."""
        numbers = {"scale": (self.scale,), "mean": self.mean, "std": self.std}
        return {**{KEY + name: ",".join(map(repr, values)) for name, values in numbers.items()},
                KEY + "layout": self.layout, **({KEY + "order": "BGR"} if self.order == "BGR" else {})}  # fmt: skip


def recorded(metadata: Mapping[str, str], layout: Layout) -> InputContract | None:
    """The contract that a model's metadata tells of, None where it tells of no normalisation.

    layout: the one to take where the metadata has none. Raises: DataError for entries that can't be read.
    """
    found = {name: metadata[KEY + name] for name in ("scale", "mean", "std") if KEY + name in metadata}
    if not found:
        return None
    try:
        scale = float(found.get("scale", 1 / 255))
        mean, std = paired(numbers(found.get("mean", "0")), numbers(found.get("std", "1")))
    except ValueError:
        raise DataError(f"the model's metadata {KEY}* can't be read: {found}") from None
    return InputContract(scale, mean, std, recorded_layout(metadata) or layout, recorded_order(metadata))


def recorded_layout(metadata: Mapping[str, str]) -> Layout | None:
    """The layout that a model's metadata names. Raises: DataError for one that there isn't."""
    return _recorded(metadata, "layout", LAYOUTS)


def recorded_order(metadata: Mapping[str, str]) -> Order:
    """The order of colours that a model's metadata names, RGB by itself. Raises: DataError for one that there isn't."""
    return _recorded(metadata, "order", ORDERS) or "RGB"


def _recorded(metadata: Mapping[str, str], name: str, known: Sequence[Word]) -> Word | None:
    named = metadata.get(KEY + name)
    if named is None:
        return None
    for word in known:
        if named == word:
            return word
    raise DataError(f"the model's metadata {KEY}{name} is {named!r}: {' or '.join(known)}")


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas. Raises: ValueError."""
    return tuple(float(part) for part in text.split(","))


def paired(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations, as many of each: a single one stands for all channels."""
    count = max(len(mean), len(std))
    return tuple(mean) * (count if len(mean) == 1 else 1), tuple(std) * (count if len(std) == 1 else 1)


def _numbers(values: Sequence[float], digits: int) -> str:
    shown = [f"{value:.{digits}g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else f"[{', '.join(shown)}]"
