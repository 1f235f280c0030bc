"""Weights & Biases: offline, in RUN/wandb, for `wandb sync`; with WANDB_MODE=online at its server.

RUN/wandb.json says which run it is there. Offline nothing tells what an earlier process has sent, so that its files go
and all is written anew; the server counts the rows that it has.
"""

from __future__ import annotations

import os
import secrets
import shutil

from chanc.files import atomic_write_json
from chanc.runs.loggers import register
from chanc.runs.loggers.rows import Row, settings
from chanc.runs.record import Record
from chanc.runs.seal import read_json

FILE, PROJECT = "wandb.json", "chanc"
AXES = {"trial": "trial", "widths": "trial", "epoch": "epoch", "final": "repeat", "step": "step"}
"""What the first word of a figure's name is drawn over."""


class WandB:
    """A run of W&B; its steps are the numbers of rows, and each row says its own step under the name of its axis."""

    def __init__(self, record: Record) -> None:
        import wandb

        known = read_json(record.path / FILE)
        name = str(known["run"]) if isinstance(known, dict) else secrets.token_hex(4)
        atomic_write_json(record.path / FILE, {"run": name})
        mode = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":
            for folder in (record.path / "wandb").glob(f"offline-run-*-{name}"):
                shutil.rmtree(folder)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=name, name=record.path.resolve().name,
            dir=str(record.path), config=settings(record.settings), mode=mode, resume="allow",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )  # fmt: skip
        for head, axis in AXES.items():
            self._run.define_metric(f"{head}/*", step_metric=axis)
        self.last = self._run.step - 1

    def log(self, number: int, row: Row) -> None:
        """One entry of the history."""
        axes = {AXES[name.partition("/")[0]]: row.step for name in row.figures}
        self._run.log({**row.figures, **axes}, step=number, commit=True)

    def close(self) -> None:
        """Wait until all is written."""
        self._run.finish()


@register("wandb", package="wandb")
def wandb(record: Record) -> WandB:
    """A run of Weights & Biases: offline in RUN/wandb, for `wandb sync`, or as $WANDB_MODE says."""
    return WandB(record)
