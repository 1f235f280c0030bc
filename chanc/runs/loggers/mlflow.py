"""MLflow: one of its runs a run directory, where $MLFLOW_TRACKING_URI says, else where MLflow keeps its own.

RUN/mlflow.json says which it is, so that a search which goes on goes on there. A tag of it counts the rows. What a
killed process has sent of the row after that is sent again, with the same time stamp, and MLflow's database keeps one
of two measurements that are the same in all.
"""

from __future__ import annotations

import os
import re

from chanc.files import atomic_write_json
from chanc.runs.loggers import register
from chanc.runs.loggers.rows import Row, settings
from chanc.runs.record import Record
from chanc.runs.seal import read_json

FILE, ROWS, EXPERIMENT = "mlflow.json", "chanc.rows", "chanc"
AT_ONCE = 100
"""So many parameters MLflow takes in one call."""


class MLflow:
    """A run of MLflow, new or gone on with. Raises MlflowException where the one that RUN/mlflow.json names is gone."""

    def __init__(self, record: Record) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client, known = MlflowClient(), read_json(record.path / FILE)
        if isinstance(known, dict):
            self._id = str(known["run"])
        else:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            found = self._client.get_experiment_by_name(experiment)
            place = found.experiment_id if found is not None else self._client.create_experiment(experiment)
            self._id = self._client.create_run(place, run_name=record.path.resolve().name).info.run_id
            atomic_write_json(record.path / FILE, {"run": self._id})
        run = self._client.get_run(self._id)
        self._client.update_run(self._id, status="RUNNING")
        self._begun, self.last = run.info.start_time, int(run.data.tags.get(ROWS, 0)) - 1
        params = [Param(_name(name), value[:500]) for name, value in settings(record.settings).items()]
        for start in range(0, len(params) if self.last < 0 else 0, AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + AT_ONCE])

    def log(self, number: int, row: Row) -> None:
        """One metric a figure, at the time at which the run began."""
        from mlflow.entities import Metric

        metrics = [Metric(_name(name), value, self._begun, row.step) for name, value in row.figures.items()]
        self._client.log_batch(self._id, metrics=metrics)
        self._client.set_tag(self._id, ROWS, str(number + 1))

    def close(self) -> None:
        """Nothing runs any more; a search that goes on changes that."""
        self._client.set_terminated(self._id)


def _name(text: str) -> str:
    """A name with the signs that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)


@register("mlflow", package="mlflow")
def mlflow(record: Record) -> MLflow:
    """A run of MLflow, where $MLFLOW_TRACKING_URI says."""
    return MLflow(record)
