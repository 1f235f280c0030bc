"""Run directories: what a search leaves on disk, written and read in one place.

The room stands below study/, which writes runs, and report/, which draws them; it stands on chanc.errors and
chanc.files alone, so that reading a run needs neither torch nor onnx. Only `chanc.runs.fsck`, which looks into the
checkpoints of trainings too, asks chanc.training for that.
"""

from __future__ import annotations

from chanc.runs.events import (
    Best,
    Decision,
    Epoch,
    EpochEvent,
    ErrorEvent,
    Event,
    FinalEvent,
    StartEvent,
    State,
    StateEvent,
    StepEvent,
    Trial,
    TrialEvent,
    VoidEvent,
)
from chanc.runs.paired import Difference, difference
from chanc.runs.record import INPUT, Record, Timing, best, check_files, read_run
from chanc.runs.rows import Row, differences, final_rows, points, verdict
from chanc.runs.rundir import RunDir, clear_errors, create, first_difference, resume
from chanc.runs.seal import read_json

__all__ = [
    "INPUT",
    "Best",
    "Decision",
    "Difference",
    "Epoch",
    "EpochEvent",
    "ErrorEvent",
    "Event",
    "FinalEvent",
    "Record",
    "Row",
    "RunDir",
    "StartEvent",
    "State",
    "StateEvent",
    "StepEvent",
    "Timing",
    "Trial",
    "TrialEvent",
    "VoidEvent",
    "best",
    "check_files",
    "clear_errors",
    "create",
    "difference",
    "differences",
    "final_rows",
    "first_difference",
    "points",
    "read_json",
    "read_run",
    "resume",
    "verdict",
]
