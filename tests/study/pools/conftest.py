from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.study.pools import Pool
from chanc.study.sweep import cells, sweep

# what the pools run in tests, in an importable module: functions of a test file can't be found by a worker
JOBS = """
import os, signal, sys, time
from pathlib import Path
def write(path): Path(path).write_text(" ".join([os.environ.get("OMP_NUM_THREADS", ""), os.getcwd()]))
def fail(path): raise SystemExit(3)
def told(path): raise SystemExit(1) from ValueError("no\\n luck")
def raises(path): raise KeyError(path)
def die(path): os.kill(os.getpid(), signal.SIGKILL)
def after(path):
    while not Path(path).exists(): time.sleep(0.02)
def wait(path):
    Path(path).write_text(str(os.getpid()))
    for _ in range(3000): time.sleep(0.02)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module with jobs, importable here and in the processes that are started from here."""
    (tmp_path / "pool_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("pool_jobs", None)
    import pool_jobs

    return pool_jobs


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """Two convolutions and a classifier for digits."""
    rng = np.random.default_rng(0)
    shapes = {"a": (8, 1, 3, 3), "b": (8, 8, 3, 3), "fc": (10, 8)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, shape).astype("float32"), name)
               for name, shape in shapes.items()]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["a_out"], pads=[1] * 4),
        helper.make_node("Relu", ["a_out"], ["a_relu"]),
        helper.make_node("Conv", ["a_relu", "b"], ["b_out"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["b_out"], ["b_relu"]),
        helper.make_node("GlobalAveragePool", ["b_relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "t.onnx")
    return tmp_path / "t.onnx"


def alive(pid: int) -> bool:
    """Whether a process is at work."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Whether a process ends within some seconds."""

    def look(pid: int, seconds: float = 60) -> bool:
        end = time.monotonic() + seconds
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        return not alive(pid)

    return look


def holders(path: Path) -> list[int]:
    """The processes that have a file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link) == str(path):
                found.append(int(link.parts[2]))
    return found


def kill_at_work(cell: Path, killed: list[int]) -> None:
    """Kill the process that runs a cell, once that has finished a trial."""
    end = time.monotonic() + 240
    while time.monotonic() < end and not killed:
        pids = holders(cell / ".lock") if (cell / "trials.jsonl").exists() else []
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.02)


@pytest.fixture
def sweeps_with_a_kill(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Pool], str]:
    """A sweep of 2 x 2 cells on a pool, one worker killed on the way; checks that all are there, none twice."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trials = 3

    def check(pool: Pool) -> str:
        todo = cells(["greedy", "sa"], {"gamma": [0.0, 0.8]}, range(1))
        names, killed, said, out = [cell.name for cell in todo], [], [], tmp_path / "s"
        common = {"data": "digits", "trials": trials, "epochs": 1, "limit_train": 200, "options": {"min_width": 4},
                  "train": {"batch_size": 32, "lr": 0.1, "device": "cpu"}}  # fmt: skip
        threading.Thread(target=kill_at_work, args=(out / names[0], killed), daemon=True).start()
        result = sweep(tiny_model, todo, out=out, pool=pool, say=said.append, **common)
        assert len(killed) == 1
        assert not result.failed
        assert [row["cell"] for row in result.rows] == names
        assert sorted(line for line in said if line.endswith(": done")) == sorted(f"{name}: done" for name in names)
        for name in names:
            log = (out / name / "trials.jsonl").read_text().splitlines()
            assert [json.loads(line)["trial"] for line in log] == list(range(trials))

        times = {name: (out / name / "cell.json").stat().st_mtime_ns for name in names}
        sweep(tiny_model, todo, out=out, pool=pool, resume=True, say=said.append, **common)
        assert times == {name: (out / name / "cell.json").stat().st_mtime_ns for name in names}
        failures = [line for line in said if ": failed: " in line]
        assert len(failures) == 1
        return failures[0].removeprefix(f"{names[0]}: failed: ")

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    return check
