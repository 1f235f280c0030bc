"""A clock that books the time which passes by what it was spent on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds of wall-clock time by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, name: str, within: Mapping[str, float] | None = None) -> None:
        """Book the time since the last lap under `name`, but for the parts of it that are known, by their own names."""
        now = time.monotonic()
        parts = within or {}
        for part, seconds in {**parts, name: now - self._last - sum(parts.values()) + parts.get(name, 0.0)}.items():
            self.seconds[part] = round(self.seconds.get(part, 0.0) + seconds, 4)
        self._last = now
