"""What a person looks at: tables for the terminal, the report of a run, and the channel visualizer.

The functions are imported when they are first used: a command that prints a table needs no pages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chanc.report.run import write_images as write_images
    from chanc.report.run import write_report as write_report
    from chanc.report.visualizer import model_graph as model_graph
    from chanc.report.visualizer import write_html as write_html

__all__ = ["model_graph", "write_html", "write_images", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'chanc.report' has no attribute {name!r}")
    home = "run" if name in ("write_images", "write_report") else "visualizer"
    return getattr(importlib.import_module(f"chanc.report.{home}"), name)
