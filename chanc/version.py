"""The version of chanc: pyproject.toml, `chanc.__version__` and the metadata of rewritten models have it from here."""

from __future__ import annotations

VERSION = "0.1.0"
