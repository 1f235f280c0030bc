"""What a person looks at: tables for the terminal, the report of a run, and the channel visualizer."""

from __future__ import annotations

from chanc.report.run import write_images, write_report
from chanc.report.visualizer import model_graph, write_html

__all__ = ["model_graph", "write_html", "write_images", "write_report"]
