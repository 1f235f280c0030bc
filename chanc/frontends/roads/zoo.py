"""`zoo:NAME`: a reference network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chanc.frontends.spec import FRONTENDS, Frontend

if TYPE_CHECKING:
    from torch import nn


def _from_zoo(name: str, options: dict[str, Any]) -> nn.Module:
    from chanc.frontends import zoo

    return zoo.build(name, **options)


FRONTENDS.add("zoo", Frontend(_from_zoo, "zoo:NAME", images=True), help="Reference networks.")
