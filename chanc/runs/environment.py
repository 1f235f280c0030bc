"""What a run ran with: in what a resumed one differs, and as many threads as before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chanc.files import Json, plain
from chanc.runs.record import read_config

COMPARED = ("versions", "threads", "simd", "numpy_simd", "blas", "matmul_precision", "device", "precision")
"""Parts of the environment on which the last bits of a result may hang."""

GIVEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user says how many threads there are."""


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, Json]:
    """What differs on which results may hang: by name, what it was and what it is."""
    was, this = (_flat(plain({name: part.get(name) for name in COMPARED})) for part in (before, now))
    return {name: [was.get(name), this.get(name)] for name in {**was, **this} if was.get(name) != this.get(name)}


def in_words(differs: Mapping[str, Json]) -> str:
    """One line on `changes`; nothing where there are none."""
    if not differs:
        return ""
    parts = [f"{name} was {_plain(pair[0])}, now {_plain(pair[1])}"
             for name, pair in differs.items() if isinstance(pair, list)]  # fmt: skip
    return f"the run was begun with another environment: {'; '.join(parts)}: the last bits of results may differ"


@contextlib.contextmanager
def threads_as_begun(folder: Path) -> Iterator[None]:
    """Compute with as many threads as a run was begun with; the caller's own come back.

    A count that the user gives (`GIVEN`) or that this machine has no cores for is left alone.
    """
    begun = read_config(folder).get("environment")
    count = begun.get("threads") if isinstance(begun, dict) else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(count, int) or not 1 <= count <= cores or any(os.environ.get(name) for name in GIVEN):
        yield
        return
    with _threads(count):
        yield


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _blas_threads(count):
            yield
    finally:
        torch.set_num_threads(before)


def _blas_threads(count: int) -> contextlib.AbstractContextManager[object]:
    """The same for the BLAS that NumPy calls, where a package can set it."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    limits: contextlib.AbstractContextManager[object] = threadpool_limits(count, user_api="blas")
    return limits


def _flat(value: Json, name: str = "") -> dict[str, Json]:
    """Values by dotted name."""
    if not isinstance(value, dict):
        return {name: value}
    parts = [_flat(part, f"{name}.{key}" if name else key) for key, part in value.items()]
    return {inner: one for part in parts for inner, one in part.items()}


def _plain(value: Json) -> str:
    return "not there" if value is None else str(value)
