"""What batches of a task showed of a model: how much the loss hangs on its units, to first order.

    s_b = sum of W dL_b/dW over the weights in question,   for each batch b

Removing weights changes the loss of batch b by -s_b, to first order: over the rows of the consumers that read a unit,
that is what removing the unit does. `chanc.training.evidence` gathers it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.files import atomic_write

Array = NDArray[np.float64]
Place = tuple[str, int, int]
"""One axis of an operand: its node (the first output), the node's input, the axis."""


@dataclass(frozen=True)
class Moments:
    """Over all batches: the sums of |s|, of s and of s^2, [positions of an axis] or [units] each."""

    absolute: Array
    signed: Array
    squared: Array


@dataclass(frozen=True)
class Gathered:
    """The moments of `batches` batches.

    axes: of each position on each weight axis that has groups on it. taken: of each group's units, by its id, over all
    consumers that read them together; made: over all that makes them, with biases, norms and whatever else is theirs.
    On request, norms: the root mean square of a unit's values as consumers read them, over samples and positions;
    products: the mean of `|x dL/dx|` over the same.
    """

    batches: int
    axes: Mapping[Place, Moments]
    taken: Mapping[str, Moments]
    made: Mapping[str, Moments]
    norms: Mapping[str, Array] = field(default_factory=dict)
    products: Mapping[str, Array] = field(default_factory=dict)

    def effect(self, group: str) -> Moments | None:
        """What removing units of a group does: by its consumers, else by what makes it; None where nothing trains."""
        return self.taken.get(group) or self.made.get(group)

    def save(self, path: Path) -> None:
        """Write it as an .npz file, whole or not at all. Raises: OSError."""
        arrays: dict[str, NDArray[np.generic]] = {"batches": np.array(self.batches)}
        for kind, table in (("axes", self.axes), ("taken", self.taken), ("made", self.made)):
            for key, of in table.items():
                arrays[json.dumps([kind, key])] = np.stack([of.absolute, of.signed, of.squared])
        for kind, rows in (("norms", self.norms), ("products", self.products)):
            arrays |= {json.dumps([kind, key]): row for key, row in rows.items()}
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Gathered:
        """Read what `save` wrote. Raises: OSError, ValueError."""
        tables: dict[str, dict[object, Array]] = {name: {} for name in ("axes", "taken", "made", "norms", "products")}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                if name != "batches":
                    kind, key = json.loads(name)
                    tables[kind][tuple(key) if kind == "axes" else key] = file[name]
            batches = int(file["batches"])
        kinds = ("axes", "taken", "made")
        moments = {kind: {key: Moments(*rows) for key, rows in tables[kind].items()} for kind in kinds}
        return cls(batches, **moments, norms=tables["norms"], products=tables["products"])  # type: ignore[arg-type]
