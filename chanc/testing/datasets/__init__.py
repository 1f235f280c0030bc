"""Damaged and odd data sets, each with what is right: pixels that must come out, or what the error must say.

One family of layouts a file. `cases` loads all of them; a case is right where just that happens, in one line, at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from chanc.data import Dataset, load
from chanc.errors import ChancError

SECONDS = 20.0
"""A case that takes longer has failed: what is refused, is refused before work is done on it."""

Build = Callable[[Path], Path | str | None]
_FAMILIES = ("pictures", "folders", "arrays", "idx", "parquet", "cifar", "paths")


@dataclass(frozen=True)
class Case:
    """build: makes the data set in an empty folder, and returns what is to be loaded where that isn't the folder.

    pixels: training images (or the first of them), where they can be read. says: a part of the error, or of the note.
    """

    name: str
    build: Build
    pixels: ArrayLike | None = None
    says: str = ""

    def wrong(self, folder: Path) -> tuple[str, str]:
        """Load the data set; what is wrong with what came of it ("" for nothing), and what was said."""
        place = self.build(folder) or folder
        start = time.monotonic()
        try:
            dataset = load(place)
        except ChancError as error:
            said, problem = str(error), "refused" if self.pixels is not None else self._wrong_text(str(error))
        except Exception as error:
            said, problem = f"{type(error).__name__}: {error}", "no ChancError"
        else:
            said, problem = dataset.note, self._wrong_data(dataset)
        taken = time.monotonic() - start
        return (problem or f"took {taken:.0f} s" if taken > SECONDS else problem), said

    def _wrong_data(self, dataset: Dataset) -> str:
        if self.pixels is None:
            return "accepted"
        expected, found = np.asarray(self.pixels, np.float64), dataset.train_images[: len(np.asarray(self.pixels))]
        if found.shape != expected.shape or np.abs(found - expected).max() > 1e-3:
            return f"other pixels: {found.shape} {found.ravel()[:4]}"
        return self._wrong_text(dataset.note)

    def _wrong_text(self, text: str) -> str:
        if "\n" in text or len(text) > 600:
            return "more than a line"
        return "" if self.says in text else f"does not say {self.says!r}"


def all_cases() -> list[Case]:
    """Every case, family by family. Raises MissingDependencyError without Pillow or pyarrow."""
    return [case for family in _FAMILIES for case in import_module(f"{__name__}.{family}").CASES]


def cases(folder: Path) -> Iterator[tuple[str, bool, str]]:
    """Make and load every data set below `folder`: its name, whether all was right, and what was said, or was wrong."""
    for number, case in enumerate(all_cases()):
        place = folder / f"{number:03}"
        place.mkdir()
        problem, said = case.wrong(place)
        yield case.name, not problem, f"{problem}: {said}" if problem else said
