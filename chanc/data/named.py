"""Data sets that are known by a name: a reader each, which gets the folder where named data sets lie."""

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
    *("chanc.data.cifar", "chanc.data.digits", "chanc.data.idx", "chanc.data.synthetic"),
    error=DataError,
)
register = DATASETS.register
