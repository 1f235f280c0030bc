"""Data folders, checksums, and downloads that are checked before they take their name."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chanc.errors import DataError
from chanc.files import open_regular

DEFLATE = 1032
"""No byte of a deflated stream (zip, gzip) becomes more bytes than this: what claims more is damaged, or lies."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def data_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Where named data sets lie: `root`, else $CHANC_DATA, else ./data. It need not exist."""
    return Path(root or os.environ.get("CHANC_DATA") or "data")


def check_md5(name: str, data: bytes, expected: str) -> None:
    """Raises: DataError where the MD5 of `data`, the content of the file `name`, is not `expected`."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(f"{name} is damaged or not the original: its MD5 is {found}, expected {expected}")


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises: DataError where it can't be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def fetch(url: str, path: Path, md5: str, *, advice: str) -> None:
    """Download `url` to `path` with a progress bar on stderr; only a file with the right MD5 takes the name.

    Raises: DataError, which ends in `advice` where the source can't be reached.
    """
    from chanc.files import atomic_write

    try:
        response = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error, advice) from error
    with response:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                _receive(response, temporary, url, md5, advice)
        except OSError as error:
            raise DataError(f"{path} can't be written: {error.strerror or error}") from error


def _receive(response: IO[bytes], target: Path, url: str, md5: str, advice: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with target.open("wb") as out:
        for chunk in _chunks(response, url, advice):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != md5:
        raise DataError(f"{url} gave a file with MD5 {digest.hexdigest()}, expected {md5}: {advice}")


def _chunks(response: IO[bytes], url: str, advice: str) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    headers = getattr(response, "headers", None)
    length = headers.get("Content-Length") if headers is not None else None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(Path(urllib.parse.urlparse(url).path).name, total=float(length) if length else None)
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _unreachable(url, error, advice) from error
            if not chunk:
                return
            progress.advance(task, len(chunk))
            yield chunk


def _unreachable(url: str, error: Exception, advice: str) -> DataError:
    reason = str(getattr(error, "reason", None) or error or type(error).__name__).splitlines()[0]
    return DataError(f"{url} can't be downloaded ({reason}): {advice}")
