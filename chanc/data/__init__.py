"""Data sets by name or by path, in memory.

Named sets lie in a data folder (`root`, else $CHANC_DATA, else ./data) or are downloaded into it with a checksum.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from chanc import plugins
from chanc.data.dataset import Dataset, stratified
from chanc.data.download import data_folder
from chanc.data.folder import Choose
from chanc.data.named import DATASETS
from chanc.errors import DataError

__all__ = ["DATASETS", "Dataset", "load"]


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


def _from_path(path: Path, choose_train: Choose, choose_test: Choose) -> Dataset:
    from chanc.data import cifar, folder, idx, npz, parquet

    try:
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
    except OSError as error:
        raise DataError(f"{error.filename or path} can't be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path} takes more memory than there is: limit its images, or make them smaller") from error
    raise DataError(
        f"{path} holds no known layout: expected CIFAR batches, idx files, train-*.parquet, or class folders of images"
    )


def _chooser(limit: int | None, seed: int) -> Choose:
    return lambda labels: stratified(labels, limit, seed)
