"""Parquet files whose rows are not all pictures with labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chanc.testing.datasets import Case
from chanc.testing.datasets.making import GREY, png

_FOUR = np.stack([GREY] * 4)[:, None]


def _file(path: Path, labels: Sequence[object], blobs: Sequence[object] | None = None, image: str = "img",
          names: Sequence[str] = ()) -> None:  # fmt: skip
    rows = [{"bytes": data, "path": None} for data in blobs or [png()] * len(labels)]
    table = pa.table({image: rows, "label": pa.array(labels)})
    if names:
        told = json.dumps({"info": {"features": {"label": {"names": list(names)}}}})
        table = table.replace_schema_metadata({"huggingface": told})
    pq.write_table(table, path)


def _with(labels: Sequence[object] = (0, 1, 0, 1), blobs: Sequence[object] | None = None, image: str = "img",
          names: Sequence[str] = ()) -> Callable[[Path], None]:  # fmt: skip
    """Two training files, the second of which has these rows."""

    def build(root: Path) -> None:
        _file(root / "train-00000-of-00002.parquet", [0, 1], names=names)
        _file(root / "train-00001-of-00002.parquet", labels, blobs, image, names)
        _file(root / "test-00000-of-00001.parquet", [0, 1], names=names)

    return build


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _with()(root)
        path = root / "train-00001-of-00002.parquet"
        path.write_bytes(change(path.read_bytes()))

    return build


def _no_test(root: Path) -> None:
    _with()(root)
    (root / "test-00000-of-00001.parquet").unlink()


def _no_rows(root: Path) -> None:
    _with()(root)
    _file(root / "test-00000-of-00001.parquet", pa.array([], pa.int64()), [])


_SECOND = "train-00001-of-00002.parquet"

CASES = [
    Case("parquet: two files", _with(), _FOUR),
    Case("parquet: a label of 10^12", _with([0, 1, 10**12]), says=f"{_SECOND}: label [2] is 1000000000000"),
    Case("parquet: a label of -1", _with([-1, 1]), says=f"{_SECOND}: label [0] is -1"),
    Case("parquet: a label without a name", _with([0, 2], names="ab"),
         says=f"{_SECOND}: label [1] is 2: labels are whole numbers from 0 to 1"),
    Case("parquet: a label left out", _with([0, None, 1]), says=f"{_SECOND}: label [1] is missing"),
    Case("parquet: labels of text", _with(["a", "b"]), says=f"{_SECOND}: label must hold one integer an image"),
    Case("parquet: no column of images", _with(image="picture"), says=f"{_SECOND} has the columns picture, label"),
    Case("parquet: a row without an image", _with(blobs=[png(), None, png(), png()]),
         _FOUR, f"{_SECOND}: row 1 can't be decoded"),
    Case("parquet: a broken image", _with(blobs=[png(), png(), png(), b"x"]),
         _FOUR, f"{_SECOND}: row 3 can't be decoded"),
    Case("parquet: no rows in test", _no_rows, says="the test part has no images"),
    Case("parquet: no test part", _no_test, says="no test-*.parquet or validation-*.parquet"),
    Case("parquet: cut off", _changed(lambda data: data[:-50]), says=f"{_SECOND} can't be read"),
    Case("parquet: the middle is lost", _changed(lambda data: data[:40] + bytes(len(data) - 140) + data[-100:]),
         says=f"{_SECOND} can't be read"),
    Case("parquet: empty", _changed(lambda data: b""), says=f"{_SECOND} can't be read"),
    Case("parquet: text", _changed(lambda data: b"label,image\n0,x\n"), says=f"{_SECOND} can't be read"),
]  # fmt: skip
