"""Roads from frameworks that need a process of their own, and what the two processes say to each other.

A road is a function from a `Job` to `Written`: it makes the model, writes it as ONNX by the framework's own exporter,
and computes the answer to an example. It runs in a worker (`chanc.frontends.worker`), which may be another interpreter
with other packages: a file that defines one imports nothing of chanc but what stands on Python's own library, and its
framework inside the function. The process that asked (`chanc.frontends.convert`) does the rest.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError, MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

BATCH = 3
"""Samples of an example: another batch than anything is traced with."""


@dataclass(frozen=True)
class Job:
    """What to write as ONNX: the model that `target` names, to `path`.

    shapes: of its inputs, batch first, empty where none were given. options: of its factory. opset: None for the
    exporter's own choice. seed: of the example.
    """

    target: str
    path: Path
    shapes: tuple[tuple[int, ...], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    opset: int | None = None
    seed: int = 0

    def examples(self, shapes: Sequence[Sequence[int | None]]) -> list[Array]:
        """Inputs [3, ...] of noise, of the given shapes, or of those that the framework tells, batch first.

        Raises ChancError where neither says how large an input is.
        """
        import numpy as np

        generator = np.random.default_rng(self.seed)
        sizes = self.shapes or tuple(tuple(-1 if size is None else size for size in shape) for shape in shapes)
        if not sizes or any(size < 1 for shape in sizes for size in shape[1:]):
            raise ChancError("the size of its input is open: give --input, its shape with the batch first")
        return [generator.standard_normal((BATCH, *shape[1:])).astype(np.float32) for shape in sizes]


@dataclass(frozen=True)
class Written:
    """What a road answers: an example's inputs and the framework's outputs, in the order of the graph's.

    packages: by their imports; those who wrote it. norms: the BatchNorms of the network, for an exporter that writes
    them as arithmetic: scale, bias, mean and variance [C], and epsilon by these names. contract: what is known of the
    input contract, entries of the metadata.
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array]
    packages: Sequence[str]
    norms: Sequence[Mapping[str, Array | float]] = ()
    contract: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Foreign:
    """A frontend that writes ONNX by itself, in a process of its own.

    write: its function; the worker finds it by its module and name. form: how a spec is written.
    """

    write: Callable[[Job], Written]
    form: str


def require(**packages: str) -> None:
    """Raises MissingDependencyError, with what to install, where a package isn't there.

    packages: the name to install by that of the import, as in sklearn="scikit-learn".
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        install = f"{sys.executable} -m pip install {' '.join(packages.values())}"
        raise MissingDependencyError(
            f"{sys.executable} has no {' and no '.join(missing)}: {install}, "
            "or name an interpreter that has them by --python"
        )
