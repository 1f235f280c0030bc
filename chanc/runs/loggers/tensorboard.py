"""TensorBoard: event files in RUN/tensorboard, for `tensorboard --logdir RUN`.

They are made of the run's log, and made anew where it is gone on with: event files can't be taken up again.
"""

from __future__ import annotations

from chanc.runs.loggers import register
from chanc.runs.loggers.rows import Row, settings
from chanc.runs.record import Record

FOLDER = "tensorboard"


class TensorBoard:
    """A writer to a folder without earlier event files. Steps are those of the rows."""

    def __init__(self, record: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = record.path / FOLDER
        for file in folder.glob("events.out.tfevents.*"):
            file.unlink()
        self.last = -1
        self._writer = SummaryWriter(str(folder))
        table = "\n".join(f"| {name} | {value} |" for name, value in settings(record.settings).items())
        self._writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{table}")

    def log(self, number: int, row: Row) -> None:
        """One scalar a figure."""
        for name, value in row.figures.items():
            self._writer.add_scalar(name, value, row.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


@register("tensorboard", package="tensorboard")
def tensorboard(record: Record) -> TensorBoard:
    """Event files in RUN/tensorboard."""
    return TensorBoard(record)
