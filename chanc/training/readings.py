"""What layers read while batches pass: how large a unit's values are, and how much the loss hangs on each of them."""

from __future__ import annotations

from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from chanc.training.module import Trainable
from chanc.training.units import Site, UnitMap

Array = NDArray[np.float64]
CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


class Readings:
    """Running sums of x^2 and |x dL/dx| by unit, means over positions, while it is entered and `active`.

    Layers are convolutions and linear ones: what others read isn't seen.
    """

    def __init__(self, net: Trainable, units: UnitMap, device: torch.device, *, active: bool) -> None:
        self._map, self._groups = units, dict[str, None]()
        self._sums = torch.zeros(2, units.count, dtype=torch.float64, device=device)
        self._handles: list[RemovableHandle] = []
        for site in units.sites if active else ():
            layer = _layer(net, site)
            if layer is not None:
                self._groups[site.group] = None
                self._watch(layer, site, device)

    def __enter__(self) -> Readings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def means(self, samples: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """By group, [units]: the root mean square of x, and the mean of |x dL/dx|."""
        squares, products = (self._sums / samples).cpu().numpy()
        spans = {name: self._map.spans[name] for name in self._groups}
        return (
            {name: np.sqrt(squares[span]) for name, span in spans.items()},
            {name: products[span] for name, span in spans.items()},
        )

    def _watch(self, layer: nn.Module, site: Site, device: torch.device) -> None:
        positions, units = (torch.from_numpy(array).to(device) for array in (site.positions, site.units))
        axis, size = 1 if isinstance(layer, CONVOLUTIONS) else -1, site.shape[site.axis]

        def lines(values: Tensor) -> Tensor:
            """[B, C, ...] or [B, ..., C] as [rows, C], which copies nothing of what is stored channels-last."""
            return values.detach().movedim(axis, -1).flatten(0, -2)

        def add(row: int, found: Tensor, count: float) -> None:
            """Rows [rows, C] of so many samples; of a convolution in groups, all groups' channels lie on one axis."""
            total = found.sum(0).double().reshape(-1, size).sum(0) * (count / len(found))
            self._sums[row].index_add_(0, units, total[positions])

        def read(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            values, count = given[0], len(given[0])
            with torch.no_grad():
                add(0, lines(values).square(), count)
            if values.requires_grad:
                # The loss is a mean over the batch: one sample's share is as many times less.
                values.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: add(1, (lines(values) * lines(gradient)).abs_(), count**2)
                )

        self._handles.append(layer.register_forward_pre_hook(read))


def _layer(net: Trainable, site: Site) -> nn.Module | None:
    """The layer whose input has the channels of a site, if it is of a kind that is watched."""
    path, _, name = site.entries[0].rpartition(".")
    layer = net.module.get_submodule(path)
    whole = site.side == "taken" and len(site.entries) == 1 and name == "weight"
    return layer if whole and isinstance(layer, (*CONVOLUTIONS, nn.Linear)) else None
