"""`torch:PACKAGE.MODULE:FACTORY`: a module that a function makes, or one that stands there ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chanc.frontends.factories import made
from chanc.frontends.spec import FRONTENDS, Frontend

if TYPE_CHECKING:
    from torch import nn


def _from_factory(target: str, options: dict[str, Any]) -> nn.Module:
    from torch import nn

    module: nn.Module = made("torch", target, options, nn.Module, "a torch.nn.Module")
    return module


FRONTENDS.add("torch", Frontend(_from_factory, "torch:PACKAGE.MODULE:FACTORY"), help="A function that makes a module.")
