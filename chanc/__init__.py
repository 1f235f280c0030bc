"""chanc: a compiler for the channel sizes (widths) of convolutional networks.

The four calls that most people need are here, imported on first use so that `import chanc` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chanc.analysis import Analysis as Analysis
    from chanc.analysis import analyze as analyze
    from chanc.api import search as search
    from chanc.ir import load as load
    from chanc.ir import save as save
    from chanc.rewriter import Rewrite as Rewrite
    from chanc.rewriter import rewrite as rewrite
    from chanc.study import Run as Run

__version__ = "0.1.0"

_HOMES = {
    "Analysis": "chanc.analysis",
    "Rewrite": "chanc.rewriter",
    "Run": "chanc.study",
    "analyze": "chanc.analysis",
    "load": "chanc.ir",
    "rewrite": "chanc.rewriter",
    "save": "chanc.ir",
    "search": "chanc.api",
}

__all__ = ["Analysis", "Rewrite", "Run", "__version__", "analyze", "load", "rewrite", "save", "search"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'chanc' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
