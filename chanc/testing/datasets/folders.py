"""Class folders that are half broken, or hold more than pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from chanc.testing.datasets import Case
from chanc.testing.datasets.making import GREY, folders, png

_FOUR = np.stack([GREY] * 4)[:, None]
_ODD = b"/\xff\x1b[2J.png"


def _broken(*kinds: str) -> dict[str, bytes]:
    return {f"{kind}__{number}": b"broken" for kind in kinds for number in range(2)}


def _half_broken(root: Path) -> None:
    folders(root, **{f"{kind}__{number}": b"broken" for kind in "ab" for number in range(2, 12)})


def _mac(root: Path) -> None:
    folders(root, **{"a__._0.png": b"macOS", "__MACOSX__a__._0.png": b"macOS", ".cache__0.png": b"cache"})
    (root / "__MACOSX" / "train").mkdir(parents=True)


def _beside(root: Path) -> None:
    folders(root, **{"a__Thumbs.db": b"Windows", "a__labels.txt": b"text", "a__.DS_Store": b"macOS"})


def _pipe(root: Path) -> None:
    os.mkfifo(folders(root) / "train" / "a" / "9.png")


def _links(root: Path) -> None:
    train = folders(root) / "train"
    shutil.move(train / "a", root / "elsewhere")
    (train / "a").symlink_to(root / "elsewhere")
    (train / "b" / "9.png").symlink_to(root / "nowhere.png")
    (train / "b" / "loop").symlink_to(train / "b")


def _no_class(root: Path) -> None:
    (folders(root) / "train" / "c").mkdir()


def _no_test(root: Path) -> None:
    shutil.rmtree(folders(root) / "test")


def _other_test(root: Path) -> None:
    (folders(root) / "test" / "a").rename(root / "test" / "c")


def _fewer_in_test(root: Path) -> None:
    shutil.rmtree(folders(root) / "test" / "a")


def _odd_names(root: Path) -> None:
    (folders(root) / "train" / "b" / "1.png").rename(os.fsdecode(os.fsencode(root / "train" / "b") + _ODD))


def _broken_odd_name(root: Path) -> None:
    folders(root)
    Path(os.fsdecode(os.fsencode(root / "train" / "b") + _ODD)).write_bytes(b"broken")


def _broken_test(root: Path) -> None:
    (folders(root) / "test" / "a" / "0.png").write_bytes(b"")


def _one(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "0.png").write_bytes(png())


def _formats_unknown(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "0.heic").write_bytes(b"heic")


CASES = [
    Case("folder: half broken", _half_broken, _FOUR, "20 of 24 training images left out, the first: "),
    Case("folder: all broken", lambda root: folders(root, **_broken("a", "b")),
         says="training: no image can be read: "),
    Case("folder: a class broken", lambda root: folders(root, **_broken("b")), says="no image of 'b' can be read: "),
    Case("folder: a class of test broken", _broken_test, says="test: no image of 'a' can be read: "),
    Case("folder: left by macOS", _mac, _FOUR),
    Case("folder: other files", _beside, _FOUR),
    Case("folder: a pipe among the pictures", _pipe, _FOUR),
    Case("folder: links", _links, _FOUR),
    Case("folder: suffix in capitals", lambda root: folders(root, **{"a__2.PNG": png()}), _FOUR),
    Case("folder: a suffix that lies", lambda root: folders(root, **{"b__2.jpg": png()}), _FOUR),
    Case("folder: other sizes", lambda root: folders(root, b__2=png(np.full((9, 9), 7, np.uint8))), _FOUR,
         "1 images resized to the commonest size"),
    Case("folder: a class without images", _no_class, says="train/c holds no images"),
    Case("folder: no test part", _no_test, says="no test or val folder"),
    Case("folder: a class in test alone", _other_test, says="test/c is a class that the training part does not have"),
    Case("folder: fewer classes in test", _fewer_in_test, _FOUR),
    Case("folder: names that are no text", _odd_names, _FOUR),
    Case("folder: a broken file whose name is no text", _broken_odd_name, _FOUR, "1 of 5 training images left out"),
    Case("folder: a single image", _one, says="the training part has no images"),
    Case("folder: unknown formats", _formats_unknown, says="no known layout"),
    Case("folder: empty", lambda root: None, says="no known layout"),
]  # fmt: skip
