"""CIFAR-10 and CIFAR-100 in their standard layouts, Python pickles and binary, as folders or as the archives.

Every file with a published MD5 is checked by it before a byte is interpreted. Pickles go through an unpickler that
can build numpy arrays and nothing else.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chanc.data.dataset import Dataset, Images, Labels, as_labels, make
from chanc.data.download import check_md5, fetch, read_bytes
from chanc.errors import DataError

_URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """One distribution: `train` and `test` map a file's name to its MD5, None where none is published."""

    name: str
    folder: str
    archive: str
    archive_md5: str
    train: Mapping[str, str | None]
    test: Mapping[str, str | None]
    meta: tuple[str, str] | None
    label_key: bytes
    label_bytes: int

    @property
    def binary(self) -> bool:
        """Fixed-size records rather than pickles."""
        return self.label_bytes > 0


LAYOUTS = (
    Layout(
        name="cifar10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta=None,
        label_key=b"labels",
        label_bytes=0,
    ),
    Layout(
        name="cifar10",
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
        train={
            "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        },
        test={"test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d"},
        meta=None,
        label_key=b"",
        label_bytes=1,
    ),
    Layout(
        name="cifar100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        meta=("meta", "7973b15100ade9c7d40fb424638fde48"),
        label_key=b"fine_labels",
        label_bytes=0,
    ),
    Layout(
        name="cifar100",
        folder="cifar-100-binary",
        archive="cifar-100-binary.tar.gz",
        archive_md5="03b5dce01913d631647c71ecec9e9cb8",
        train={"train.bin": None},
        test={"test.bin": None},
        meta=None,
        label_key=b"",
        label_bytes=2,
    ),
)

_NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
}
_CLASSES = {"cifar10": 10, "cifar100": 100}
_CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def find(root: Path, name: str | None = None) -> tuple[Layout, Path] | None:
    """The first distribution (folder or archive) in or under `root`, of the data set `name` where it is given."""
    for layout in LAYOUTS:
        if name not in (None, layout.name):
            continue
        for base in (root, root / layout.name):
            for place in (base, base / layout.folder):
                if any((place / file).is_file() for file in (*layout.train, *layout.test)):
                    return layout, place
            if (base / layout.archive).is_file():
                return layout, base / layout.archive
    return None


def read_named(name: str, root: Path) -> Dataset:
    """`cifar10` or `cifar100` from the data folder `root`, or downloaded into it.

    Raises: DataError for a damaged file, or where nothing is found and nothing can be downloaded.
    """
    found = find(root, name)
    if found is None:
        layout = next(layout for layout in LAYOUTS if layout.name == name)
        folders = " or ".join(layout.folder for layout in LAYOUTS if layout.name == name)
        advice = f"put {layout.archive}, or the folder {folders}, into {root}"
        fetch(_URL + layout.archive, root / layout.archive, layout.archive_md5, advice=advice)
        found = layout, root / layout.archive
    return read(*found)


def read(layout: Layout, place: Path) -> Dataset:
    """The data set of a folder or an archive. Raises: DataError for a missing or damaged file."""
    contents = _archived(layout, place) if place.is_file() else _files(layout, place)
    parse = _records if layout.binary else _pickled
    train = _join([parse(layout, name, contents[name]) for name in layout.train])
    test = _join([parse(layout, name, contents[name]) for name in layout.test])
    note = "" if not layout.binary or layout.name == "cifar10" else "no MD5 is published for these files: not checked"
    return make(
        layout.name, train, test, class_names=_names(layout, contents),
        normalisation=_NORMALISATION[layout.name], note="" if place.is_file() else note,
    )  # fmt: skip


def _files(layout: Layout, folder: Path) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for name, md5 in (*layout.train.items(), *layout.test.items()):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: {name} is missing")
        contents[name] = read_bytes(folder / name)
        if md5 is not None:
            check_md5(str(folder / name), contents[name], md5)
    if layout.meta and (folder / layout.meta[0]).is_file():
        contents[layout.meta[0]] = read_bytes(folder / layout.meta[0])
        check_md5(str(folder / layout.meta[0]), contents[layout.meta[0]], layout.meta[1])
    return contents


def _archived(layout: Layout, archive: Path) -> dict[str, bytes]:
    """The files of an archive, read in place: nothing is unpacked on the disk."""
    data = read_bytes(archive)
    check_md5(str(archive), data, layout.archive_md5)
    wanted = {*layout.train, *layout.test, *((layout.meta[0],) if layout.meta else ())}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member) if Path(member.name).name in wanted else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} is damaged: {error}") from error
    for name in (*layout.train, *layout.test):
        if name not in contents:
            raise DataError(f"{archive}: {name} is missing")
    return contents


def _records(layout: Layout, name: str, data: bytes) -> tuple[Images, Labels]:
    """Records of the labels (the last one is the fine one) and 3,072 pixels, channel after channel."""
    record = layout.label_bytes + _PIXELS
    if not data or len(data) % record:
        raise DataError(f"{name} is damaged: {len(data)} bytes are not whole records of {record}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = as_labels(f"{name}: label", rows[:, layout.label_bytes - 1], _CLASSES[layout.name])
    return rows[:, layout.label_bytes :], labels


def _pickled(layout: Layout, name: str, data: bytes) -> tuple[Images, Labels]:
    content = unpickle(name, data)
    pixels, labels = content.get(b"data"), content.get(layout.label_key)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        raise DataError(f"{name} holds no uint8 array [N, {_PIXELS}] under the key data")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"{name} holds no list of integers under the key {layout.label_key.decode()}")
    where = f"{name}: {layout.label_key.decode()}"
    return pixels, as_labels(where, np.array(labels, np.int64), _CLASSES[layout.name])


def _join(parts: list[tuple[Images, Labels]]) -> tuple[Images, Labels]:
    pixels = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
    return pixels, np.concatenate([labels for _, labels in parts])


def _names(layout: Layout, contents: Mapping[str, bytes]) -> tuple[str, ...]:
    if layout.name == "cifar10":
        return _CIFAR10_NAMES
    if layout.meta is None or layout.meta[0] not in contents:
        return tuple(str(label) for label in range(_CLASSES[layout.name]))
    names = unpickle(layout.meta[0], contents[layout.meta[0]]).get(b"fine_label_names", [])
    return tuple(name.decode() for name in names)


def unpickle(name: str, data: bytes) -> dict[Any, Any]:
    """The dictionary in a pickle of plain values and numpy arrays. Raises: DataError for anything else in it."""
    try:
        content = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:  # A hostile or cut pickle can make the virtual machine raise nearly anything.
        raise DataError(f"{name} is not a CIFAR pickle: {str(error).splitlines()[:1]}") from error
    if not isinstance(content, dict):
        raise DataError(f"{name} is not a CIFAR pickle: it holds a {type(content).__name__}")
    return content


class _ArraysOnly(pickle.Unpickler):
    """Resolves the three names that a pickled array needs; every other global is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise DataError(f"its pickle asks for {module}.{name}, which is refused")
