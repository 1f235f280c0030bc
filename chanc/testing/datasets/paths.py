"""Paths at which there is no data set."""

from __future__ import annotations

import os
from pathlib import Path

from chanc.testing.datasets import Case


def _pipe(root: Path) -> Path:
    os.mkfifo(root / "set.npz")
    return root / "set.npz"


def _loop(root: Path) -> Path:
    (root / "set.npz").symlink_to("set.npz")
    return root / "set.npz"


def _text(root: Path) -> Path:
    (root / "set.csv").write_text("0,1,2\n")
    return root / "set.csv"


CASES = [
    Case("path: nothing there", lambda root: root / "none", says="none does not exist"),
    Case("path: a name that isn't known", lambda root: "minst", says="the data sets known by name are cifar10"),
    Case("path: a zero byte", lambda root: "a\0b", says="does not exist"),
    Case("path: a name without an end", lambda root: "x" * 300, says="xxx"),
    Case("path: a pipe", _pipe, says="set.npz is no .npz file and no folder"),
    Case("path: a device", lambda root: "/dev/zero", says="/dev/zero is no .npz file and no folder"),
    Case("path: a link to itself", _loop, says="set.npz"),
    Case("path: text", _text, says="set.csv is no .npz file and no folder"),
]
