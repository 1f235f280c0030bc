"""W&B offline: one run, each row once in its history, after a run that went on too."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("wandb")

from chanc.runs import RunDir
from chanc.runs.loggers import following

pytestmark = pytest.mark.nightly  # its service takes seconds to start


BLOCK = 32768
"""Bytes; no header of a part lies across two blocks."""


def records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind seven bytes of its own."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def history(run: RunDir) -> list[dict[str, float]]:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (run.path / "wandb").glob("offline-run-*/run-*.wandb")
    found = [Record.FromString(data).history.item for data in records(file.read_bytes())]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row} for row in found if row]


def test_rows_once_after_going_on(
    run: RunDir, go_on: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "")
    with following(["wandb"], run.path) as follow:
        follow()
    go_on()
    with following(["wandb"], run.path) as follow:
        follow()
    found = history(run)
    assert [row["_step"] for row in found] == list(range(8))
    assert [row["trial/score"] for row in found if "trial/score" in row] == [0.5, 0.75]
    assert [row["trial"] for row in found if "trial" in row] == [0, 1, 2]
