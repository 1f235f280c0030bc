"""What a person should know before trusting a run, one line each; all of it is read off the record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from chanc.files import Json
from chanc.runs.environment import in_words
from chanc.runs.events import EpochEvent, ErrorEvent, TrialEvent
from chanc.runs.record import Record

SHOWN = 3
"""So many names stand in a line; of the others it says how many they are."""


def cautions(record: Record) -> list[str]:
    """The warnings of a run as it stands."""
    found = (_bounds(record), _chance(record), _divergence(record), _degenerate(record), _elsewhere(record))
    return [line for line in found if line]


def _bounds(record: Record) -> str:
    """Where the model's own widths are none that the search may take."""
    low, high = (_number(record.settings.get(name)) for name in ("min_width", "max_width"))
    widths = record.environment.get("widths")
    if low is None or high is None or not isinstance(widths, dict):
        return ""
    own = [width for width in widths.values() if isinstance(width, int)]
    outside = [width for width in own if not low <= width <= high]
    if not outside:
        return ""
    return (f"the model's own widths lie outside the bounds of {low:g} to {high:g} channels in {len(outside)} of "
            f"{len(own)} groups ({min(own)} to {max(own)}): see --min-width and --max-width")  # fmt: skip


def _chance(record: Record) -> str:
    """Where no trial has learned anything; two standard errors above guessing count."""
    guess, images = (_number(record.environment.get(name)) for name in ("chance", "held_out"))
    scores = [event.score for event in record.trials] or [event.score for event in record.of(EpochEvent)]
    if guess is None or not images or not scores:
        return ""
    best = max(scores, key=lambda score: score if math.isfinite(score) else -1.0)
    if best > guess + 2 * math.sqrt(guess * (1 - guess) / images):
        return ""
    return (f"no trial is better than guessing ({guess:.1%}; the best has {best:.1%} on {images:g} held-out images): "
            f"what was measured says nothing; give it more --epochs, more data or another --lr")  # fmt: skip


def _divergence(record: Record) -> str:
    """Trials whose loss is not finite, or higher at the end than in the first epoch."""
    wild = [str(event.id) for event in record.outcomes if _diverges(event)]
    if not wild:
        return ""
    return (f"the loss diverges in {_listed('trial', wild)} of {len(record.outcomes)}: it is not finite, or ends above "
            f"where it began; a lower --lr may help")  # fmt: skip


def _diverges(event: TrialEvent | ErrorEvent) -> bool:
    if isinstance(event, ErrorEvent):
        return "diverged" in event.reason
    losses = [epoch.loss for epoch in event.epochs]
    return not all(map(math.isfinite, [*losses, event.loss])) or (len(losses) > 1 and losses[-1] > losses[0])


def _degenerate(record: Record) -> str:
    """Layers that score the maximum because a single singular value was kept of them."""
    trials = Counter(name for event in record.trials for name in event.metrics.get("degenerate", {}))
    if not trials:
        return ""
    names = [f"{name} in {trials[name]}" for name in sorted(trials, key=lambda name: (-trials[name], name))]
    return (f"QC near its maximum says nothing where one singular value was kept: {_listed('layer', names)} of "
            f"{len(record.trials)} trials")  # fmt: skip


def _elsewhere(record: Record) -> str:
    """Where the run was resumed with another environment."""
    resumed = record.environment.get("resumed")
    entries = [entry for entry in resumed if isinstance(entry, dict)] if isinstance(resumed, list) else []
    seen = {name: pair for entry in entries if isinstance(differs := entry.get("differs"), dict)
            for name, pair in differs.items()}  # fmt: skip
    return in_words(seen)


def _listed(noun: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"


def _number(value: Json) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
