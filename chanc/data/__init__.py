"""Data sets by name or by path, in memory; and whatever else a model may be fed.

Named sets lie in a data folder (`root`, else $CHANC_DATA, else ./data) or are downloaded into it with a checksum.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from chanc import plugins
from chanc.data.dataset import Dataset, stratified
from chanc.data.download import data_folder
from chanc.data.folder import Choose
from chanc.data.named import DATASETS
from chanc.data.samples import Samples
from chanc.errors import DataError

__all__ = ["DATASETS", "Data", "DataSource", "Dataset", "Samples", "data_for", "load"]

Data = Dataset | Samples
"""What networks are trained on: images, or anything else."""
DataSource = str | os.PathLike[str] | Iterable[object] | Data
"""Where data come from: see `data_for`."""


def load(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A data set by its name (see `DATASETS`) or from a path.

    A path is a folder in one of the layouts CIFAR (Python or binary), idx, Parquet (Hugging Face), class folders of
    images, or an .npz file. `limit_*` keeps that many images, a stratified subset drawn with `seed`.

    Raises: DataError with one line; MissingDependencyError.
    """
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        with plugins.guarded(f"reading {name_or_path}", DataError):
            dataset = DATASETS[name_or_path](data_folder(root))
    else:
        path = Path(name_or_path)
        dataset = _from_path(path, _chooser(limit_train, seed), _chooser(limit_test, seed))
        if dataset.name not in DATASETS:
            dataset = replace(dataset, name=path.resolve().stem)
    return dataset.limit(limit_train, limit_test, seed=seed)


def data_for(
    source: DataSource,
    inputs: Sequence[str],
    *,
    size: tuple[int, int, int] | None = None,
    root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    seed: int = 0,
) -> Data:
    """Data for a model with these inputs, with labels or without.

    source: what `load` takes; a folder of images, or arrays in files (`chanc.data.unlabelled`); a torch Dataset or
    DataLoader, or an iterable of batches (`chanc.data.iterables`); a `Dataset` or `Samples`. `limit_*` as for `load`;
    with both an iterable is read no further than it has to be. size: C, H, W of images without labels, where the model
    has a size of its own: large pictures are then made small one by one.

    Raises: DataError with one line; MissingDependencyError.
    """
    if isinstance(source, Dataset | Samples):
        return source.limit(limit_train, limit_test, seed=seed)
    if not isinstance(source, str | os.PathLike):
        from chanc.data.iterables import collect

        most = 5 * max(limit_train, limit_test) if limit_train and limit_test else None
        return collect(source, inputs, most).limit(limit_train, limit_test, seed=seed)
    if _unlabelled(path := Path(source)):
        from chanc.data import unlabelled

        with _readable(path):
            found = unlabelled.read(path, inputs, limit_train, limit_test, seed, size)
        if found is None:
            raise DataError(f"{path} holds no images, no .npy arrays, and no data set of a known layout")
        return replace(found, name=path.resolve().stem)
    return load(source, root=root, limit_train=limit_train, limit_test=limit_test, seed=seed)


def _unlabelled(path: Path) -> bool:
    """Whether there is something at a path, and no data set with labels."""
    from chanc.data import cifar, folder, idx, npz, parquet

    if str(path) in DATASETS or not path.exists():
        return False
    if not path.is_dir():
        return path.suffix == ".npy" or (path.suffix == ".npz" and not npz.is_layout(path))
    with _readable(path):
        return not (cifar.find(path) or idx.is_layout(path) or parquet.find(path) or folder.is_layout(path))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the system says of files, in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path} can't be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path} takes more memory than there is: limit its images, or make them smaller") from error


def _from_path(path: Path, choose_train: Choose, choose_test: Choose) -> Dataset:
    from chanc.data import cifar, folder, idx, npz, parquet

    with _readable(path):
        if path.suffix == ".npz" and path.is_file():
            return npz.read(path)
        if not path.is_dir():
            what = "is no .npz file and no folder" if path.exists() else "does not exist"
            raise DataError(f"{path} {what}, and the data sets known by name are {', '.join(DATASETS)}")
        found = cifar.find(path)
        if found is not None:
            return cifar.read(*found)
        if idx.is_layout(path):
            return idx.read(path)
        parquet_folder = parquet.find(path)
        if parquet_folder is not None:
            return parquet.read(parquet_folder, choose_train, choose_test)
        if folder.is_layout(path):
            return folder.read(path, choose_train, choose_test)
    raise DataError(
        f"{path} holds no known layout: expected CIFAR batches, idx files, train-*.parquet, or class folders of images"
    )


def _chooser(limit: int | None, seed: int) -> Choose:
    return lambda labels: stratified(labels, limit, seed)
