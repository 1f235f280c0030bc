"""chanc: a compiler for the channel sizes (widths) of convolutional networks.

The public functions are here, imported on first use so that `import chanc` stays instant; `dir(chanc)` lists them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chanc.api import Analysis as Analysis
    from chanc.api import Rewrite as Rewrite
    from chanc.api import Run as Run
    from chanc.api import Trained as Trained
    from chanc.api import analyze as analyze
    from chanc.api import codegen as codegen
    from chanc.api import export as export
    from chanc.api import gather as gather
    from chanc.api import load as load
    from chanc.api import rewrite as rewrite
    from chanc.api import save as save
    from chanc.api import search as search
    from chanc.api import train as train
    from chanc.api import verify as verify

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Rewrite",
    "Run",
    "Trained",
    "__version__",
    "analyze",
    "codegen",
    "export",
    "gather",
    "load",
    "rewrite",
    "save",
    "search",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'chanc' has no attribute {name!r}")
    return getattr(importlib.import_module("chanc.api"), name)


def __dir__() -> list[str]:
    return list(__all__)
