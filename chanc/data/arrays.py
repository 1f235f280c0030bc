"""Arrays of .npz and .npy files by their headers: no pickle, and no memory for a size that the file doesn't hold."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from chanc.data.download import DEFLATE
from chanc.errors import DataError
from chanc.files import open_regular

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SUFFIX = ".npy"


def read_arrays(
    path: str | os.PathLike[str], choose: Callable[[list[str]], Iterable[str]] = sorted
) -> dict[str, NDArray[np.generic]]:
    """Arrays by name: those that `choose` picks of the names in the file, or all.

    Raises: DataError for a file that is none, or damaged, or holds pickled objects; OSError where it can't be opened.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                present = [name.removesuffix(_SUFFIX) for name in archive.namelist()]
                return {name: _array(archive, name) for name in choose(present)}
        except DataError:
            raise
        except Exception as error:  # a damaged archive or header can raise nearly anything
            why = str(error).strip() or type(error).__name__
            raise DataError(f"{os.fspath(path)} is not an .npz file of arrays: {why.splitlines()[0]}") from error


def names_in(path: str | os.PathLike[str]) -> set[str]:
    """The names of the arrays in an .npz file, of which none is read. Raises: as `read_arrays`."""
    present: set[str] = set()

    def note(names: list[str]) -> tuple[str, ...]:
        present.update(names)
        return ()

    read_arrays(path, note)
    return present


def read_array(path: str | os.PathLike[str]) -> NDArray[np.generic]:
    """The array of an .npy file. Raises: as `read_arrays`."""
    with open_regular(path) as file:
        try:
            return _values(os.path.basename(path), file, os.fstat(file.fileno()).st_size)
        except Exception as error:
            why = str(error).strip() or type(error).__name__
            raise DataError(f"{os.fspath(path)} is not an .npy file of an array: {why.splitlines()[0]}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    """An array of an archive that claims no more bytes than it can hold."""
    info = archive.getinfo(name + _SUFFIX)
    if info.file_size > info.compress_size * DEFLATE:
        raise ValueError(f"{name} claims {info.file_size} bytes in {info.compress_size} of the archive")
    with archive.open(info) as file:
        return _values(name, file, info.file_size)


def _values(name: str, file: IO[bytes], size: int) -> NDArray[np.generic]:
    """An array whose header claims just the bytes that follow it."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} is of version {version[0]}.{version[1]}: 1.0 and 2.0 are read")
    shape, by_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"{name} holds {dtype} values, which may be any code")
    rest = size - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"{name} has {rest} bytes of values for {dtype} {list(shape)}")
    return np.frombuffer(file.read(rest), dtype).reshape(shape, order="F" if by_columns else "C").copy()
