from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from chanc.errors import MissingDependencyError, RunError
from chanc.study.pools import Job
from chanc.study.pools.slurm import SlurmPool, minutes_of

# a Slurm of one machine: each job is a process group, whose id the file PID names
COMMANDS = {
    "sinfo": """
printf 'gpu|2-00:00:00|gpu:a100:8(S:0-1)\\ngpu|2-00:00:00|(null)\\nshort|2:00:00|(null)\\nlong|infinite|(null)\\n'
""",
    "sbatch": """
id=$(( $(cat $SLURM_FAKE/last 2>/dev/null || echo 100) + 1 )); echo $id > $SLURM_FAKE/last
grep -q 'partition=full' $1 && echo 'sbatch: error: no room' >&2 && exit 1
cp $1 $SLURM_FAKE/$id.sh
SLURM_JOB_ID=$id setsid bash $1 > $SLURM_FAKE/$id.out 2>&1 < /dev/null & echo $! > $SLURM_FAKE/$id.pid
echo Submitted batch job $id
""",
    "srun": """
while [[ $1 == --* ]]; do [[ $1 == --unbuffered ]] && shift || shift 2; done; exec "$@"
""",
    "sacct": """
echo 'JobID|State|NodeList'
for pid in $SLURM_FAKE/*.pid; do
  kill -0 -$(cat $pid) 2>/dev/null && state=RUNNING || state=FAILED; echo "$(basename $pid .pid)|$state|here"
done
""",
    "scancel": """
for id in "$@"; do
  [[ $id == --* ]] || { echo $id >> $SLURM_FAKE/cancelled; kill -TERM -$(cat $SLURM_FAKE/$id.pid); }
done
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of Slurm on the path, asked often; returns the folder where they leave what they were asked."""
    monkeypatch.setattr("chanc.study.pools.slurm.time", SimpleNamespace(sleep=lambda seconds: time.sleep(0.05)))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in COMMANDS.items():
        (tools / name).write_text("#!/bin/bash" + body)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tools), os.environ["PATH"]]))
    monkeypatch.setenv("SLURM_FAKE", str(tools))
    return tools


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1-00:00:00", 1440), ("2:30:00", 150), ("7-12:30:00", 10830), ("45:00", 45), ("infinite", None), ("n/a", None)],
)
def test_time_limits(text: str, minutes: int | None) -> None:
    assert minutes_of(text) == minutes


def test_submitit_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingDependencyError, match=r"^--slurm needs submitit: pip install 'chanc\[slurm\]'$"):
        SlurmPool("gpu", tmp_path)


def test_no_slurm_and_no_such_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(RunError, match=r"^Slurm has no partition 'gpus'; it has: gpu, short, long$"):
        SlurmPool("gpus", tmp_path / "slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="there is no sinfo here"):
        SlurmPool("gpu", tmp_path / "slurm")
    assert not (tmp_path / "slurm").exists()


@pytest.mark.nightly
def test_jobs_of_slurm(jobs, slurm: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    told: dict[str, str] = {}
    functions = {"a": jobs.write, "b": jobs.fail, "c": jobs.die}
    todo = [Job(name, function, (str(tmp_path / name),)) for name, function in functions.items()]
    folder = tmp_path / "s" / "slurm"
    SlurmPool("gpu", folder).run(todo, lambda job, problem: told.update({job.name: problem}))
    assert told.pop("c") == f"job 103 ended without a result (failed): see {folder}/103_0_log.err"
    assert told == {"a": "", "b": "ended with exit code 3"}
    assert (tmp_path / "a").read_text().endswith(f" {tmp_path}")
    script = (slurm / "101.sh").read_text()
    for line in ("--partition=gpu", "--gpus-per-node=1", "--time=1440", "--job-name=chanc-a"):
        assert f"#SBATCH {line}\n" in script
    assert not (slurm / "cancelled").exists()

    SlurmPool("short", folder, minutes=7).run(todo[:1], lambda job, problem: None)
    script = (slurm / "104.sh").read_text()
    assert "--time=7\n" in script
    assert "gpus" not in script
    assert (slurm / "cancelled").read_text().split() == ["103"]  # what might still be in the queue


def test_an_interrupt_cancels_the_jobs(jobs, ends, slurm: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    pid = tmp_path / "pid"

    def interrupt(job: Job, problem: str) -> None:
        raise KeyboardInterrupt

    todo = [Job("w", jobs.wait, (str(pid),)), Job("x", jobs.after, (str(pid),)), Job("y", jobs.write, ("y",))]
    pool = SlurmPool("long", tmp_path / "slurm", workers=2)
    with pytest.raises(KeyboardInterrupt):
        pool.run(todo, interrupt)
    assert (slurm / "cancelled").read_text().split() == ["101"]
    assert ends(int((slurm / "101.pid").read_text()))
    assert not (slurm / "103.sh").exists()


def test_a_refused_job_is_one_line(jobs, slurm: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    pool = SlurmPool("long", tmp_path / "slurm")
    pool._parameters["slurm_partition"] = "full"
    with pytest.raises(RunError, match=r"^Slurm takes no job: sbatch: error: no room"):
        pool.run([Job("a", jobs.write, ("a",))], lambda job, problem: None)


@pytest.mark.nightly
def test_two_by_two_cells_with_one_worker_killed(
    sweeps_with_a_kill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit.LocalJob, "_results_timeout_s", 1)
    pool = SlurmPool("none", tmp_path / "s" / "slurm", workers=2, cluster="local")
    assert "ended without a result" in sweeps_with_a_kill(pool)
