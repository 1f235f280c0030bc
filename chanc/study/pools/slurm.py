"""Cells as jobs of Slurm, through submitit; one GPU each where the partition has any.

What submitit needs, and what the jobs print, lies in a folder of the sweep, on a file system that all machines share.
Whatever else sbatch has to know comes from its environment variables (SBATCH_ACCOUNT, SBATCH_QOS, ...).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chanc.errors import MissingDependencyError, RunError
from chanc.study.pools import Done, Job, attempt

DAY = 24 * 60


@dataclass(frozen=True)
class Partition:
    """What Slurm tells of a partition. limit: the longest job, in minutes, None where there is no limit."""

    gpu: bool
    limit: int | None


class SlurmPool:
    """Runs cells in a partition of Slurm, `workers` jobs at a time; 0: all are queued at once.

    folder: where the jobs' files go. minutes: how long a cell may take; 0: a day, or the partition's limit if that is
    less. cluster: `local` runs the jobs as processes of this machine. Raises MissingDependencyError without submitit,
    RunError without Slurm or without such a partition.
    """

    def __init__(
        self, partition: str, folder: str | os.PathLike[str], workers: int = 0, minutes: int = 0, cluster: str = "slurm"
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise MissingDependencyError("--slurm needs submitit: pip install 'chanc[slurm]'") from None
        about = find_partition(partition) if cluster == "slurm" else Partition(False, None)
        self._submitit, self._cluster, self._workers = submitit, cluster, workers
        self._folder = Path(folder).absolute()
        self._parameters = {
            "timeout_min": minutes or min(DAY, about.limit or DAY),
            "slurm_partition": partition,
            **({"gpus_per_node": 1} if about.gpu else {}),
        }

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Run all jobs. An interrupt cancels those that are queued or running, and is passed on."""
        if self._cluster == "slurm":
            cancel_left(self._folder)
        executor = self._submitit.AutoExecutor(folder=self._folder, cluster=self._cluster)
        waiting: list[Job] = list(jobs)
        running: list[tuple[Job, Any]] = []
        try:
            while waiting or running:
                while waiting and (not self._workers or len(running) < self._workers):
                    job = waiting.pop(0)
                    running.append((job, self._submit(executor, job)))
                time.sleep(1)
                for pair in [pair for pair in running if pair[1].done()]:
                    running.remove(pair)
                    done(pair[0], _problem(pair[1]))
        except BaseException:
            for _, handle in running:
                handle.cancel(check=False)
            raise

    def _submit(self, executor: Any, job: Job) -> Any:
        executor.update_parameters(name=f"chanc-{job.name}", **self._parameters)
        try:
            return executor.submit(attempt, job)
        except (self._submitit.core.utils.FailedJobError, OSError) as error:
            raise RunError(f"Slurm takes no job: {' '.join(str(error).split())}") from None


def find_partition(name: str) -> Partition:
    """Ask Slurm for a partition; raises RunError where there is no Slurm, or none of that name."""
    missing = [tool for tool in ("sinfo", "sbatch", "srun", "sacct", "scancel") if shutil.which(tool) is None]
    if missing:
        raise RunError(f"--slurm needs the commands of Slurm on this machine: there is no {missing[0]} here")
    asked = subprocess.run(["sinfo", "--noheader", "--format=%R|%l|%G"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise RunError(f"Slurm doesn't answer: {' '.join(asked.stderr.split())}")
    rows = [[part.strip() for part in line.split("|")] for line in asked.stdout.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    own = [row for row in rows if row[0] == name]
    if not own:
        known = ", ".join(dict.fromkeys(row[0] for row in rows)) or "none"
        raise RunError(f"Slurm has no partition {name!r}; it has: {known}")
    return Partition(any("gpu" in row[2] for row in own), minutes_of(own[0][1]))


def minutes_of(limit: str) -> int | None:
    """A time limit as sinfo writes it ([days-]hours:minutes:seconds) in minutes; None where there is none."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or len(parts) < 2:
        return None
    hours, minutes = [0, *map(int, parts[:-1])][-2:]
    return (int(days or 0) * 24 + hours) * 60 + minutes


def cancel_left(folder: Path) -> None:
    """Cancel what a killed sweep left in the queue: its jobs would hold their cells against those of this one."""
    ended = {path.name.split("_")[0] for path in folder.glob("*_result.pkl")}
    left = {path.name.split("_")[0] for path in folder.glob("*_submitted.pkl")} - ended
    if left:
        subprocess.run(["scancel", "--quiet", *sorted(left)], capture_output=True, check=False)


def _problem(handle: Any) -> str:
    """What went wrong with a job that has ended, or ""."""
    state = handle.state.lower().replace("_", " ")
    if state in ("completed", "finished") or handle.paths.result_pickle.exists():
        error = handle.exception()  # waits for a result that the file system doesn't show yet
        if error is None:
            return str(handle.result())
    return f"job {handle.job_id} ended without a result ({state}): see {handle.paths.stderr}"
