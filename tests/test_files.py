from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from chanc import files
from chanc.files import checksum, json_text, leftovers, open_regular, plain, remove_leftovers
from chanc.ir import atomic_write, atomic_write_json, atomic_write_text


def test_new_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    with atomic_write(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
        assert temporary.exists()
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.onnx"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, MemoryError, SystemExit])
def test_a_stopped_writer_leaves_the_old_file(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise stop

    with pytest.raises(stop):
        write()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_umask_for_new_files_and_mode_of_old_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new").chmod(0o604)
    atomic_write_text(tmp_path / "new", "y")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o604


@pytest.mark.parametrize("old", [None, 0o640, 0o604, 0o444])
def test_a_writer_that_puts_a_file_of_its_own_there_keeps_the_mode(tmp_path: Path, old: int | None) -> None:
    """As safetensors does, whose files nobody but their owner could read."""
    target = tmp_path / "a"
    if old is not None:
        target.write_text("old")
        target.chmod(old)
    before = os.umask(0o022)
    try:
        with atomic_write(target) as temporary:
            (tmp_path / "own").touch(0o600)
            (tmp_path / "own").replace(temporary)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == (0o644 if old is None else old)


def test_a_temporary_name_can_be_neither_guessed_nor_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for _ in range(8):
        with atomic_write(tmp_path / "a") as temporary:
            names.append(temporary.name)
    assert len(set(names)) == 8
    assert all(len(name.removeprefix(files.PREFIX)) == 16 for name in names)
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim, trap = tmp_path / "victim", tmp_path / f"{files.PREFIX}guessed"
    trap.symlink_to(victim)
    with pytest.raises(FileExistsError):
        atomic_write_text(tmp_path / "a", "x")
    assert not victim.exists()
    assert trap.is_symlink()


@pytest.mark.timeout(20)
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place, what in ((tmp_path / "pipe", "not a regular file"), (Path("/dev/zero"), "not a regular file"),
                        (tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):  # fmt: skip
        with pytest.raises(OSError, match=what):
            open_regular(place)
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"abc"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "link", links=False)


@pytest.mark.timeout(20)
def test_a_checksum_is_of_all_of_a_regular_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * (files._PIECE // 256) + b"abc"
    (tmp_path / "a").write_bytes(content)
    assert checksum(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        checksum(tmp_path / "pipe")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    atomic_write_text(link, "x")
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "x"


def test_errors_name_the_target(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught:
        atomic_write_text(missing, "x")
    assert caught.value.filename == str(missing)
    with pytest.raises(IsADirectoryError) as folder:
        atomic_write_text(tmp_path, "x")
    assert folder.value.filename == str(tmp_path)


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        atomic_write_text("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


def test_full_disk(tiny_disk: Path) -> None:
    target = tiny_disk / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(target) as temporary:
        temporary.write_bytes(b"x" * 200_000)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert os.listdir(tiny_disk) == ["a.bin"]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write_json(path, {"b": 1, "a": ["é", None]}, sort_keys=True)
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": ["é", None], "b": 1}
    assert path.read_text(encoding="utf-8").startswith('{\n  "a"')
    with pytest.raises(ValueError, match="Out of range float"):
        atomic_write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == 1


@pytest.mark.parametrize("sort", [False, True])
def test_json_text_is_that_of_the_standard_library(sort: bool) -> None:
    shared = [3, -1, 10**20]
    value = {
        "b\n\"é": {"x": shared, "y": {"deeper": shared}, "z": shared}, "a": [[], {}, (), [True, 1], [1.5, 2], ["1", 2]],
        "c": [shared, [shared]], "d": {"1": None, "2": False, "3": "\u2028"}, "e": -0.0, "f": (7, 8),
    }  # fmt: skip
    assert json_text(value, sort_keys=sort) == json.dumps(value, indent=2, sort_keys=sort, ensure_ascii=False) + "\n"
    keys = {1: 2, None: 3, False: 4, 0.5: {2: []}}
    assert json_text(keys) == json.dumps(keys, indent=2) + "\n"
    for wrong in ({(1, 2): 3}, [{1, 2}], {"a": b""}):
        with pytest.raises(TypeError):
            json_text(wrong)


def test_plain_is_what_json_holds() -> None:
    @dataclasses.dataclass
    class Pair:
        first: int
        second: float | None = None
        rest: tuple[int, ...] = ()

    value = {"a": (np.float32(0.5), np.int64(3)), 1: Path("x/y"), "p": Pair(1, rest=(2,)), "q": Pair(1, 0.5)}
    assert plain(value) == {"a": [0.5, 3], "1": "x/y", "p": {"first": 1, "rest": [2]}, "q": {"first": 1, "second": 0.5}}
    assert plain([math.nan, math.inf, -math.inf, True, None]) == ["nan", "inf", "-inf", True, None]
    with pytest.raises(TypeError, match="complex is nothing that JSON can hold"):
        plain({"a": [1j]})


def test_leftovers_go_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in (".chanc-1", "a/.chanc-2.onnx", "a/b/.chanc-3.json", "a/chanc-4", "a/.other", "a/b/x.chanc-5"):
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path.parent)
    (tmp_path.parent / ".chanc-6").write_text("")
    remove_leftovers(tmp_path, below=True)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in left if not name.startswith("link/")] == ["a/.other", "a/b/x.chanc-5", "a/chanc-4"]
    assert (tmp_path.parent / ".chanc-6").exists()


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    dead = tmp_path / ".chanc-dead.onnx"
    dead.write_text("half")
    with atomic_write(tmp_path / "a.onnx") as mine:
        assert not dead.exists()
        with atomic_write(tmp_path / "b.onnx") as other:
            assert mine.exists()
            assert leftovers(tmp_path) == []
            other.write_text("b")
        mine.write_text("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_a_temporary_name_that_is_a_pipe_or_a_link_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".chanc-pipe")
    (tmp_path / ".chanc-link").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("keep")
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
