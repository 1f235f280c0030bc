"""chanc: a compiler for the channel sizes (widths) of convolutional networks.

The public functions are here, imported on first use so that `import chanc` stays instant; `dir(chanc)` lists them. So
are chanc's packages: `chanc.passes` needs no import of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chanc.api import Analysis as Analysis
    from chanc.api import Evaluated as Evaluated
    from chanc.api import Pruned as Pruned
    from chanc.api import Reconstruction as Reconstruction
    from chanc.api import Rewrite as Rewrite
    from chanc.api import Run as Run
    from chanc.api import Sensitivity as Sensitivity
    from chanc.api import Timed as Timed
    from chanc.api import Trained as Trained
    from chanc.api import analyze as analyze
    from chanc.api import codegen as codegen
    from chanc.api import evaluate as evaluate
    from chanc.api import export as export
    from chanc.api import gather as gather
    from chanc.api import latency as latency
    from chanc.api import load as load
    from chanc.api import prune as prune
    from chanc.api import reconstruct as reconstruct
    from chanc.api import rewrite as rewrite
    from chanc.api import save as save
    from chanc.api import search as search
    from chanc.api import sensitivity as sensitivity
    from chanc.api import train as train
    from chanc.api import verify as verify
    from chanc.version import VERSION as __version__

__all__ = [
    "Analysis",
    "Evaluated",
    "Pruned",
    "Reconstruction",
    "Rewrite",
    "Run",
    "Sensitivity",
    "Timed",
    "Trained",
    "__version__",
    "analyze",
    "codegen",
    "evaluate",
    "export",
    "gather",
    "latency",
    "load",
    "prune",
    "reconstruct",
    "rewrite",
    "save",
    "search",
    "sensitivity",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("chanc.version").VERSION
    if name in __all__:
        return getattr(importlib.import_module("chanc.api"), name)
    if not name.startswith("_") and importlib.util.find_spec(f"chanc.{name}") is not None:
        return importlib.import_module(f"chanc.{name}")
    raise AttributeError(f"module 'chanc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
