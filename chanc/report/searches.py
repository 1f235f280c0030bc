"""Time and memory of masking searches, side by side (FlexCHarts, table 1): the search alone, without final trainings.

Searches that differ in their seeds only are one row, with the standard error of its mean.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from chanc.report.record import Record
from chanc.runs.supernet import epoch_timings

COLUMNS = (
    "search", "n", "epochs", "seconds", "peak memory (MiB)", "MACs run forward", "time / first", "memory / first",
)  # fmt: skip
NOTE = ("The search alone, on the machine of each run. ± is the standard error over n searches of other seeds; ratios "
        "are to the first row.")  # fmt: skip


@dataclass(frozen=True)
class Amount:
    """A mean over searches and its standard error, None for a single search."""

    mean: float
    error: float | None = None

    @staticmethod
    def of(values: Sequence[float]) -> Amount | None:
        """The mean of these values; None where there are none."""
        if not values:
            return None
        several = len(values) > 1
        return Amount(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)) if several else None)

    def over(self, other: Amount) -> Amount:
        """The ratio to another one, independent of this; its error to the first order."""
        ratio = self.mean / other.mean
        if self.error is None or other.error is None:
            return Amount(ratio)
        return Amount(ratio, ratio * math.hypot(self.error / self.mean, other.error / other.mean))


@dataclass(frozen=True)
class _Spent:
    seconds: float
    peak: float | None
    macs: float


def search_rows(records: Sequence[Record], names: Sequence[str]) -> list[list[str]]:
    """A row of `COLUMNS` for each kind of masking search among the runs; `names` tell apart what else looks alike."""
    kinds: dict[str, list[tuple[str, Record]]] = {}
    for name, record in zip(names, records, strict=True):
        if record.masked and epoch_timings(record.timing):
            kinds.setdefault(_kind(record), []).append((name, record))
    found = [([_spent(record) for _, record in of], of) for of in kinds.values()]
    titles = [_title(of[0][1]) for _, of in found]
    rows: list[list[str]] = []
    first: tuple[Amount | None, Amount | None] | None = None
    for title, (spent, of) in zip(titles, found, strict=True):
        time = Amount.of([one.seconds for one in spent])
        memory = Amount.of([one.peak / 2**20 for one in spent if one.peak is not None])
        first = first or (time, memory)
        label = title if titles.count(title) == 1 else f"{title} ({of[0][0]})"
        macs = Amount.of([one.macs for one in spent if one.macs])
        rows.append([label, str(len(of)), str(len(of[0][1].masked)), _text(time, ".1f"), _text(memory, ",.0f"),
                     _text(macs, ".3g"), _ratio(time, first[0]), _ratio(memory, first[1])])  # fmt: skip
    return rows


def _kind(record: Record) -> str:
    """What searches of one kind have in common: all settings but the seed."""
    settings = record.config.get("settings")
    entries = settings if isinstance(settings, dict) else {}
    return json.dumps({key: value for key, value in entries.items() if key != "seed"}, sort_keys=True, default=str)


def _title(record: Record) -> str:
    return str(record.setting("preset") or record.setting("algo", "search"))


def _spent(record: Record) -> _Spent:
    timings = epoch_timings(record.timing)
    peaks = [line.peak_bytes for line in timings if line.peak_bytes is not None]
    return _Spent(
        seconds=sum(sum(line.seconds.values()) for line in timings),
        peak=max(peaks, default=None),
        macs=sum(one.largest.get("executed", 0.0) for one in record.masked),
    )


def _ratio(amount: Amount | None, first: Amount | None) -> str:
    return _text(amount.over(first) if amount is not None and first is not None else None, ".2f")


def _text(amount: Amount | None, form: str) -> str:
    if amount is None:
        return "–"
    return f"{amount.mean:{form}}" + (f" ± {amount.error:{form}}" if amount.error is not None else "")
