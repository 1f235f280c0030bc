"""Types of the benchmarks' arguments: what can't be used is one line, before minutes are spent."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)


def at_least(low: Number) -> Callable[[str], Number]:
    """A number of the kind of `low`, no smaller."""

    def number(text: str) -> Number:
        found = type(low)(text)
        if not found >= low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return found

    return number


def folder(text: str) -> Path:
    """A folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def models(text: str) -> Path:
    """A folder with .onnx files or skeletons in it."""
    if not any(any(folder(text).glob(pattern)) for pattern in ("*.onnx", "*.onnx.gz")):
        raise argparse.ArgumentTypeError(f"{text} holds no .onnx file")
    return Path(text)


def target(text: str) -> Path:
    """A file to write, in a folder that is there."""
    folder(str(Path(text).parent))
    return Path(text)


def require(parser: argparse.ArgumentParser, *packages: str) -> None:
    """End with one line where a package is missing."""
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            parser.error(f"{package} is not installed: pip install {package}")
