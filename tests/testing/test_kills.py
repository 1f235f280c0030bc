from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from chanc.errors import RunError
from chanc.files import atomic_write_text
from chanc.runs import read_run
from chanc.testing import toy
from chanc.testing.kills import KILLED, Disk, child, contents, kills, operations


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("calm") / "run"
    toy.search(place)
    return place


def test_operations_are_counted_and_a_killed_write_is_half_there(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with open(folder / "a", "wb") as file:
            file.write(b"abcd")
        atomic_write_text(folder / "b", "whole")

    count = operations(work, tmp_path)
    assert count >= 9  # mkdir; open, write; make, open, write, sync, rename, sync of the folder
    assert child(work, tmp_path / "half", Disk(kill_at=3)) == KILLED
    assert (tmp_path / "half/a").read_bytes() == b"ab"
    seen = []
    for number, place in kills(work, tmp_path, range(1, count + 1)):
        assert contents(place) == {"a": b"abcd", "b": b"whole"}
        seen.append(number)
    assert seen == list(range(1, count + 1))


def test_what_goes_wrong_is_told_apart(tmp_path: Path) -> None:
    def wrong(folder: Path) -> None:
        raise RunError("no")

    assert child(lambda folder: None, tmp_path) == 0
    assert child(wrong, tmp_path) == 1
    assert child(lambda folder: folder.nothing, tmp_path) == 2
    with pytest.raises(RuntimeError, match="killed at operation 99, the work ends with exit codes"):
        next(kills(lambda folder: None, tmp_path, [99]))


def test_a_search_that_is_killed_anywhere_comes_out_the_same(tmp_path: Path, calm: Path) -> None:
    count = operations(toy.search, tmp_path)
    assert count > 100
    whole = contents(calm, but=toy.CLOCKS)
    for number, place in kills(toy.search, tmp_path, random.Random(os.getpid()).sample(range(1, count + 1), 3)):
        assert contents(place, but=toy.CLOCKS) == whole, number


@pytest.mark.nightly
def test_a_search_that_is_killed_everywhere_comes_out_the_same(tmp_path: Path, calm: Path) -> None:
    whole = contents(calm, but=toy.CLOCKS)
    for number, place in kills(toy.search, tmp_path, range(1, operations(toy.search, tmp_path) + 1)):
        assert contents(place, but=toy.CLOCKS) == whole, number


@pytest.mark.parametrize("room", [0, 700, 5000])
def test_a_full_disk_is_one_error_and_the_log_goes_on(tmp_path: Path, calm: Path, room: int) -> None:
    assert child(toy.search, tmp_path / "run", Disk(room=room)) == 1
    if room > 1000:
        assert read_run(tmp_path / "run").log
    assert child(toy.search, tmp_path / "run") == 0
    assert contents(tmp_path / "run", but=toy.CLOCKS) == contents(calm, but=toy.CLOCKS)
