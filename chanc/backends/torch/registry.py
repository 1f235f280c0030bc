"""The table operator -> text: how each operator is written, from an opset version on.

A rule writes the statements of one node through the `Emitter` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chanc.registry import Operators

if TYPE_CHECKING:
    from chanc.backends.torch.emitter import Emitter
    from chanc.backends.torch.node import Node

Handler = Callable[["Emitter", "Node"], None]
REGISTRY: Operators[Handler] = Operators("emitter", "chanc.ops", "chanc.backends.torch.ops")
emits = REGISTRY.rule
