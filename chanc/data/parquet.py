"""A folder of Parquet files as the Hugging Face hub lays them out: train-*.parquet and test-*.parquet.

Images are encoded files (PNG, JPEG) in `img.bytes` or `image.bytes`, labels integers in `label` or `fine_label`;
class names come from the schema's `huggingface` metadata where they are given.
"""

from __future__ import annotations

import bisect
import json
from pathlib import Path
from typing import Any

import numpy as np

from chanc.data.dataset import MAX_CLASSES, Dataset, Labels, as_labels
from chanc.data.folder import Choose, load_parts
from chanc.data.pictures import Blob
from chanc.errors import DataError, MissingDependencyError
from chanc.files import open_regular

_IMAGES = ("img", "image")
_LABELS = ("label", "fine_label")
_TEST_NAMES = ("test", "validation", "valid", "val")


def find(folder: Path) -> Path | None:
    """The folder with train-*.parquet in it: `folder` or its `data`."""
    return next((place for place in (folder, folder / "data") if any(place.glob("train-*.parquet"))), None)


def read(folder: Path, choose_train: Choose, choose_test: Choose) -> Dataset:
    """A `Dataset` of the folder that `find` gave; only the rows that `choose_*` picks by label are decoded.

    Raises: DataError; MissingDependencyError without pyarrow or Pillow.
    """
    test = next((name for name in _TEST_NAMES if any(folder.glob(f"{name}-*.parquet"))), None)
    if test is None:
        raise DataError(f"{folder} has train-*.parquet but no test-*.parquet or validation-*.parquet")
    images, labels, names = _rows(folder, "train")
    test_images, test_labels, _ = _rows(folder, test)
    return load_parts(str(folder), (images, labels), (test_images, test_labels), names, choose_train, choose_test)


def _rows(folder: Path, part: str) -> tuple[_Blobs, Labels, tuple[str, ...] | None]:
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError("Parquet files are read with pyarrow: pip install 'chanc[data]'") from error
    files = sorted(folder.glob(f"{part}-*.parquet"))
    blobs, labels = _Blobs(), []
    names: tuple[str, ...] | None = None
    for file in files:
        try:
            open_regular(file).close()
            schema = pq.read_schema(file)
            image, label = (_column(file, schema.names, wanted) for wanted in (_IMAGES, _LABELS))
            table = pq.read_table(file, columns=[image, label])
            if table.column(label).null_count:
                raise DataError(f"{file}: {label} [{table.column(label).is_null().index(True)}] is missing")
            values = np.asarray(table.column(label).to_numpy())
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(f"{file} can't be read: {str(error).splitlines()[0]}") from error
        names = names or _class_names(schema.metadata, label)
        labels.append(as_labels(f"{file}: {label}", values, len(names) if names else MAX_CLASSES))
        blobs.add(file, table.column(image).combine_chunks())
    return blobs, np.concatenate(labels), names


class _Blobs:
    """The encoded images of a column of several files, taken out one by one: most of a big file is never copied."""

    def __init__(self) -> None:
        self._parts: list[tuple[Path, Any]] = []
        self._starts = [0]

    def add(self, file: Path, column: Any) -> None:
        """Put the images of one more file behind the others."""
        self._parts.append((file, column))
        self._starts.append(self._starts[-1] + len(column))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Blob:
        number = bisect.bisect_right(self._starts, index) - 1
        file, column = self._parts[number]
        row = index - self._starts[number]
        value = column[row].as_py()
        blob = value.get("bytes") if isinstance(value, dict) else value
        return Blob(blob if isinstance(blob, bytes) else b"", f"{file}: row {row}")


def _column(file: Path, present: list[str], wanted: tuple[str, ...]) -> str:
    found = next((name for name in wanted if name in present), None)
    if found is None:
        raise DataError(f"{file} has the columns {', '.join(present)}: expected {' or '.join(wanted)}")
    return found


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(str(name) for name in names)
