"""Data sets that are known by a name. One data set a file, which registers its reader.

A reader is a function `(root) -> Dataset`; it gets the folder where named data sets lie.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chanc.data.dataset import Dataset
from chanc.errors import DataError
from chanc.registry import Registry

Reader = Callable[[Path], Dataset]
DATASETS: Registry[Reader] = Registry(
    "data set",
    "chanc.data",
    __name__,
    error=DataError,
)
register = DATASETS.register
