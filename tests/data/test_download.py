from __future__ import annotations

import hashlib
import http.client
import io
import urllib.request
from pathlib import Path

import pytest

from chanc.data import cifar, download
from chanc.errors import DataError

_CONTENT = b"pixels" * 100_000
_MD5 = hashlib.md5(_CONTENT).hexdigest()


def _source(tmp_path: Path) -> str:
    (tmp_path / "source.bin").write_bytes(_CONTENT)
    return (tmp_path / "source.bin").as_uri()


def test_download_makes_the_folder_and_checks(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "got.bin"
    download.fetch(_source(tmp_path), target, _MD5, advice="")
    assert target.read_bytes() == _CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["got.bin"]


def test_wrong_checksum_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new" / "got.bin"
    with pytest.raises(DataError, match="expected 0000: do this"):
        download.fetch(_source(tmp_path), target, "0000", advice="do this")
    assert list(target.parent.iterdir()) == []


def test_broken_connection_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise http.client.IncompleteRead(b"")
            return super().read(1000)

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Breaking(_CONTENT))
    with pytest.raises(DataError, match=r"can't be downloaded.*do this"):
        download.fetch("https://example.invalid/got.bin", tmp_path / "new" / "got.bin", _MD5, advice="do this")
    assert list((tmp_path / "new").iterdir()) == []


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        download.fetch(_source(tmp_path), tmp_path / "data" / "got.bin", _MD5, advice="")


def test_named_set_is_fetched_from_its_standard_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(_CONTENT)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(DataError, match="expected c58f30108f718f92721af3b95e74349a"):
        cifar.read_named("cifar10", tmp_path)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]
