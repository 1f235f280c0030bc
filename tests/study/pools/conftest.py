from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.runs import read_run
from chanc.study.pools import Pool
from chanc.study.sweep import cells, sweep


@pytest.fixture(scope="module")
def jobs_module() -> Iterator[ModuleType]:
    """The module pool_jobs beside this file, importable here and in the processes that are started from here."""
    folder = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
        import pool_jobs

        yield pool_jobs


@pytest.fixture
def jobs(jobs_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What pools run; the working directory is that of the test."""
    monkeypatch.chdir(tmp_path)
    return jobs_module


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


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.nightly)])
def sweeps_with_a_kill(
    request: pytest.FixtureRequest, jobs: ModuleType, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Pool], str]:
    """A sweep of 2 x 2 cells on a pool, one worker killed on the way; checks that all are there, none twice.

    By day the cells train nothing: everything else of a cell is the same.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trials = 3

    def check(pool: Pool) -> str:
        todo = cells(["greedy", "sa"], {"gamma": [0.0, 0.8]}, range(1))
        names, said, out = [cell.name for cell in todo], [], tmp_path / "s"
        common = {"data": "digits", "trials": trials, "epochs": 1, "limit_train": 200, "options": {"min_width": 4},
                  "train": {"batch_size": 32, "lr": 0.1, "device": "cpu"},
                  "function": getattr(jobs, request.param)}  # fmt: skip
        result = sweep(tiny_model, todo, out=out, pool=pool, say=said.append, **common)
        assert not result.failed
        assert [row.cell for row in result.rows] == names
        assert [row.trials for row in result.rows] == [trials] * 4
        assert sorted(line for line in said if line.endswith(": done")) == sorted(f"{name}: done" for name in names)
        for name in names:
            assert [event.id for event in read_run(out / name).trials] == list(range(trials))

        times = {name: (out / name / "cell.json").stat().st_mtime_ns for name in names}
        sweep(tiny_model, todo, out=out, pool=pool, resume=True, say=said.append, **common)
        assert times == {name: (out / name / "cell.json").stat().st_mtime_ns for name in names}
        failures = [line for line in said if ": failed: " in line]
        assert len(failures) == 1
        return failures[0].removeprefix(f"{jobs.VICTIM}: failed: ")

    return check
