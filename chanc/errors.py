"""The errors of chanc: one root class, and the three ways out of a search.

An `IllegalMove` skips a proposal, a `TrialError` records a failed trial and goes on, every other `ChancError` is the
user's to mend: the command line prints its message as one line on stderr and exits with 1.
"""

from __future__ import annotations

from chanc.terminal import printable

LONGEST = 1500
"""Characters of an error's text: names in a model may be as long as they like."""


class ChancError(Exception):
    """The root of every error that chanc raises on purpose; its text is one clear line that steers no terminal."""

    def __str__(self) -> str:
        text = printable(" ".join(super().__str__().split()))
        half = LONGEST // 2
        return text if len(text) <= LONGEST else f"{text[:half]} … {text[-half:]}"


class ModelError(ChancError):
    """A model that can't be read, is not valid, or is refused as a whole."""


class NotUnderstood(ModelError):
    """A model at which a rule, a pass or an emitter stumbled; the cause is kept (`chanc.boundary`)."""


class PlanError(ChancError):
    """A plan of widths that names an unknown group, a pinned one, or a width that can't be had."""


class VerifyError(ChancError):
    """A rewritten model that failed a check; nothing was written."""


class DataError(ChancError):
    """A data set that is missing, damaged, or does not fit the model."""


class MissingDependencyError(ChancError):
    """An optional package that is needed for what was asked is not installed."""


class RunError(ChancError):
    """A run directory that can't be used: not writable, damaged, or made with other settings."""


class TrialError(ChancError):
    """One trial failed (diverged, out of memory): it is recorded and the search goes on."""


class IllegalMove(ChancError):
    """A sampler proposed widths that can't be realised: the proposal is skipped."""
