"""MLflow keeps each figure once: after a run that went on, and where a kill came between a row and its count."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

from chanc.runs import RunDir
from chanc.runs.loggers import following

pytestmark = pytest.mark.nightly  # its database takes seconds to make


def test_figures_once_after_going_on(
    run: RunDir, go_on: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'tracked.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    with following(["mlflow"], run.path) as follow:
        follow()
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    name = json.loads((run.path / "mlflow.json").read_text())["run"]
    client.set_tag(name, "chanc.rows", "1")  # as if a kill had come before the count of the third row
    go_on()
    with following(["mlflow"], run.path) as follow:
        follow()
    kept = client.get_run(name)
    assert kept.data.params["train.lr"] == "0.1"
    assert kept.info.status == "FINISHED"
    scores = client.get_metric_history(name, "trial/score")
    assert [(one.step, one.value) for one in scores] == [(0, 0.5), (1, 0.75)]
    losses = client.get_metric_history(name, "epoch/loss")
    assert sorted((one.step, one.value) for one in losses) == [(0, 2.0), (1, 1.0), (2, 2.0), (3, 1.0)]
    assert kept.data.metrics["widths/conv 1_a_"] == 9.0
    assert [found.info.run_id for found in client.search_runs(["1"])] == [name]
