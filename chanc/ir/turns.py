"""Samples in turns: a model of a fixed batch runs on so many at a time, one that knows of no batch on one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import onnx_ir as ir


class Stack(Protocol):
    """What arrays and tensors have in common: axes, of which the first one goes through the samples."""

    @property
    def ndim(self) -> int: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


Stacked = TypeVar("Stacked", bound=Stack)


@dataclass(frozen=True)
class Turns:
    """How many samples a model takes at a time.

    ranks: of its inputs, by name; None where one isn't known. batch: what their first axes are fixed to; None where
    they are open, or of several sizes and so no batch. open: whether all first axes are.
    """

    ranks: Mapping[str, int | None]
    batch: int | None
    open: bool = True

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, Sequence[object] | None]) -> Turns:
        """Those of a model with such inputs.

        A state that goes from run to run may fix the batch where the input beside it is open; not so where the batch is
        one of its other axes, by its name: its first one goes through layers then.
        """
        ranks = {name: len(shape) if shape is not None else None for name, shape in shapes.items()}
        first = {size for shape in shapes.values() for size in list(shape or ())[:1]}
        others = {str(size) for shape in shapes.values() for size in list(shape or ())[1:] if not isinstance(size, int)}
        sizes = {size for size in first if isinstance(size, int) and size > 0}
        elsewhere = {str(size) for size in first - sizes} & others - {"None", "?", ""}
        opened = not sizes and not elsewhere and 0 not in ranks.values()
        return cls(ranks, sizes.pop() if len(sizes) == 1 and not elsewhere else None, opened)

    @classmethod
    def of(cls, model: ir.Model) -> Turns:
        """Those of a graph."""
        inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
        return cls.of_shapes({value.name or "": None if value.shape is None else list(value.shape) for value in inputs})

    def whole(self, samples: Mapping[str, Stack]) -> bool:
        """Whether samples are runs of their own: no batch is open, and all arrays have an axis more than the inputs."""
        more = all(array.ndim - 1 == self.ranks.get(name) for name, array in samples.items())
        return more and bool(samples) and not self.open

    def parts(self, samples: Mapping[str, Stacked]) -> Iterator[dict[str, Stacked]]:
        """The samples, [N, ...] each, as the model runs on them; those of a fixed batch filled up with the last one."""
        count = min((len(array) if array.ndim else 0 for array in samples.values()), default=0)
        if self.whole(samples):
            yield from ({name: array[row] for name, array in samples.items()} for row in range(count))
        elif self.batch in (None, count) or not count:
            yield dict(samples)
        else:
            for start in range(0, count, self.batch):
                rows = [min(row, count - 1) for row in range(start, start + self.batch)]
                yield {name: array[rows] for name, array in samples.items()}
