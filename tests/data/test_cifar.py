from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

import chanc.data
from chanc.data import cifar
from chanc.errors import DataError

_PER_FILE = 30


def _parts(layout: cifar.Layout) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    classes = 10 if layout.name == "cifar10" else 100
    random = np.random.default_rng(7)
    return {
        name: (
            random.integers(0, 256, size=(_PER_FILE, 3072), dtype=np.uint8),
            random.permutation(np.arange(_PER_FILE) * classes // _PER_FILE),
        )
        for name in (*layout.train, *layout.test)
    }


def _encode(layout: cifar.Layout, pixels: np.ndarray, labels: np.ndarray) -> bytes:
    if layout.binary:
        coarse = np.full((len(labels), layout.label_bytes - 1), 99)
        return np.concatenate([coarse, labels[:, None], pixels], axis=1).astype(np.uint8).tobytes()
    content = {b"data": pixels, layout.label_key: [int(k) for k in labels], b"batch_label": b"made in a test"}
    return pickle.dumps(content, protocol=3)


def _write(layout: cifar.Layout, folder: Path) -> tuple[cifar.Layout, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Files in the layout, and the layout with their MD5s in the place of the originals'."""
    folder.mkdir(parents=True)
    parts = _parts(layout)
    sums = {}
    for name, (pixels, labels) in parts.items():
        data = _encode(layout, pixels, labels)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    changed = dataclasses.replace(
        layout,
        train={name: sums[name] if md5 else None for name, md5 in layout.train.items()},
        test={name: sums[name] if md5 else None for name, md5 in layout.test.items()},
    )
    return changed, parts


def _use(monkeypatch: pytest.MonkeyPatch, changed: cifar.Layout) -> None:
    layouts = tuple(changed if layout.folder == changed.folder else layout for layout in cifar.LAYOUTS)
    monkeypatch.setattr(cifar, "LAYOUTS", layouts)


@pytest.mark.parametrize("layout", cifar.LAYOUTS, ids=lambda layout: layout.folder)
@pytest.mark.parametrize("place", ["itself", "parent", "root", "named root"])
def test_layout_is_read_to_the_pixel(
    layout: cifar.Layout, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / layout.name if place == "named root" else tmp_path
    changed, parts = _write(layout, base / layout.folder)
    _use(monkeypatch, changed)
    if place == "itself":
        dataset = chanc.data.load(tmp_path / layout.folder)
    elif place == "parent":
        dataset = chanc.data.load(tmp_path)
    else:
        dataset = chanc.data.load(layout.name, root=tmp_path)
    pixels = np.concatenate([parts[name][0] for name in layout.train]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([parts[name][1] for name in layout.train])
    assert (dataset.train_images == pixels).all()
    assert (dataset.train_labels == labels).all()
    assert (dataset.test_labels == parts[next(iter(layout.test))][1]).all()
    assert dataset.classes == (10 if layout.name == "cifar10" else 100)
    assert dataset.mean[0] == (0.4914 if layout.name == "cifar10" else 0.5071)


@pytest.mark.parametrize("layout", cifar.LAYOUTS[:3], ids=lambda layout: layout.folder)
def test_one_flipped_bit_is_found(layout: cifar.Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, _ = _write(layout, tmp_path / "set")
    _use(monkeypatch, changed)
    victim = tmp_path / "set" / next(iter(layout.train))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(DataError, match="is damaged or not the original: its MD5 is") as caught:
        chanc.data.load(tmp_path / "set")
    assert str(victim) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_the_original_are_refused_before_they_are_unpickled(tmp_path: Path) -> None:
    _write(cifar.LAYOUTS[0], tmp_path / "set")
    with pytest.raises(DataError, match="expected c99cafc152244af753f735de768cd75f"):
        chanc.data.load(tmp_path / "set")


def test_missing_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, _ = _write(cifar.LAYOUTS[1], tmp_path / "set")
    _use(monkeypatch, changed)
    (tmp_path / "set" / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin is missing"):
        chanc.data.load(tmp_path / "set")


def test_binary_without_published_sums_is_checked_by_its_records(tmp_path: Path) -> None:
    layout = cifar.LAYOUTS[3]
    _write(layout, tmp_path / "set")
    assert "not checked" in chanc.data.load(tmp_path / "set").note
    with (tmp_path / "set" / "train.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="not whole records of 3074"):
        chanc.data.load(tmp_path / "set")


@pytest.mark.parametrize("layout", cifar.LAYOUTS, ids=lambda layout: layout.archive)
def test_archive_is_read_in_place(layout: cifar.Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, parts = _write(layout, tmp_path / "made")
    archive = tmp_path / "sets" / layout.archive
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made", arcname=layout.folder)
    with pytest.raises(DataError, match=layout.archive_md5):
        chanc.data.load(layout.name, root=archive.parent)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    _use(monkeypatch, dataclasses.replace(layout, archive_md5=md5))
    dataset = chanc.data.load(layout.name, root=archive.parent)
    assert (dataset.train_labels == np.concatenate([parts[name][1] for name in layout.train])).all()
    assert [path.name for path in archive.parent.iterdir()] == [layout.archive]


def test_class_names_of_cifar100_come_from_its_meta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, _ = _write(cifar.LAYOUTS[2], tmp_path / "set")
    meta = pickle.dumps({b"fine_label_names": [f"kind {k}".encode() for k in range(100)]}, protocol=3)
    (tmp_path / "set" / "meta").write_bytes(meta)
    _use(monkeypatch, dataclasses.replace(changed, meta=("meta", hashlib.md5(meta).hexdigest())))
    assert chanc.data.load(tmp_path / "set").class_names[42] == "kind 42"


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_malicious_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = cifar.LAYOUTS[0]
    folder = tmp_path / "set"
    changed, _ = _write(layout, folder)
    data = pickle.dumps({b"data": _Evil(tmp_path / "owned"), b"labels": []}, protocol=3)
    (folder / "data_batch_1").write_bytes(data)
    _use(
        monkeypatch,
        dataclasses.replace(changed, train={**changed.train, "data_batch_1": hashlib.md5(data).hexdigest()}),
    )
    with pytest.raises(DataError, match="system, which is refused"):
        chanc.data.load(folder)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)})[:-40],
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n.",
        b"cnumpy\nndarray.__reduce__\n.",
    ],
)
def test_other_pickles_are_refused(payload: bytes) -> None:
    with pytest.raises(DataError):
        cifar.unpickle("file", payload)


def test_python_2_array_pickles_are_read() -> None:
    # Protocol 0 to 2 of Python 2 name numpy.core.multiarray; numpy 2 writes numpy._core.multiarray.
    modern = pickle.dumps({b"data": np.arange(6, dtype=np.uint8)}, protocol=3)
    old = modern.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != modern
    assert cifar.unpickle("old", old)[b"data"].tolist() == [0, 1, 2, 3, 4, 5]


def test_wrong_content_of_a_batch(tmp_path: Path) -> None:
    stream = io.BytesIO()
    pickle.dump({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}, stream, protocol=3)
    with pytest.raises(DataError, match="no uint8 array"):
        cifar._pickled(cifar.LAYOUTS[0], "batch", stream.getvalue())
