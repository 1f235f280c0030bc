"""Numbers that others published, to compare with; they come from published.json, each with its source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


def reference_points(model: str, data: str) -> list[Mapping[str, Any]]:
    """Return the published entries for a model and a data set: label, source, and params, macs, top1 (percent)."""
    return [entry for entry in _published()["entries"] if _matches(entry["match"], model) and entry["data"] == data]


def search_days(model: str, algo: str) -> Mapping[str, Any] | None:
    """Return the published search cost (gpu_days, source) of a method on a model, or None."""
    rows = _published()["search_days"]
    return next((row for row in rows if row["algo"] == algo and _matches(row["match"], model)), None)


def _published() -> Any:
    return json.loads(files("chanc.report").joinpath("published.json").read_text(encoding="utf-8"))


def _matches(name: str, model: str) -> bool:
    """Say whether `name` stands in `model` as a whole word: darts7 is neither in dartsplus7 nor in darts70."""
    return re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![0-9])", model.lower()) is not None
