from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chanc.study.pools import Job
from chanc.study.pools.local import LocalPool, threads_each

IMPORTS = "from chanc.study.pools import Job\nfrom chanc.study.pools.local import LocalPool\n"

# The jobs are in an importable module: spawned processes can't import a test file by name.
JOBS = """
import os, signal, sys, time
from pathlib import Path
def write(folder, name): Path(folder, name).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
def fail(folder, name): sys.exit(3)
def die(folder, name): os.kill(os.getpid(), signal.SIGKILL)
def wait(folder, name): Path(folder, name).write_text(str(os.getpid())); time.sleep(300)
def heed(folder, name): signal.signal(signal.SIGTERM, signal.default_int_handler); wait(folder, name)
"""


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "jobs.py").write_text(JOBS)
    main = f"import sys, jobs\n{IMPORTS}if __name__ == '__main__':\n"
    (tmp_path / "main.py").write_text(main + "".join(f"    {line}\n" for line in script.splitlines()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    return subprocess.run([sys.executable, "main.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=240)  # fmt: skip


@pytest.mark.nightly
def test_jobs_end_one_by_one_with_their_reasons(tmp_path: Path) -> None:
    script = """
names = {"a": jobs.write, "b": jobs.fail, "c": jobs.die, "d": jobs.write}
todo = [Job(name, function, (".", name)) for name, function in names.items()]
LocalPool(2).run(todo, lambda job, problem: print(job.name, problem))
"""
    out = run(tmp_path, script)
    assert sorted(out.stdout.splitlines()) == ["a ", "b ended with exit code 3", "c killed by signal 9", "d "]
    assert (tmp_path / "a").exists()
    assert (tmp_path / "d").exists()


@pytest.mark.nightly
def test_each_worker_sees_its_gpu(tmp_path: Path) -> None:
    script = """
todo = [Job(name, jobs.write, (".", name)) for name in "ab"]
LocalPool(gpus=("4", "7")).run(todo, lambda job, problem: None)
"""
    run(tmp_path, script)
    assert {(tmp_path / name).read_text() for name in "ab"} == {"4", "7"}


def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_each(2) == 0
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [threads_each(at_once) for at_once in (1, 2, 3, 16)] == [0, 4, 2, 1]


def test_no_job_is_no_work() -> None:
    LocalPool(3).run([], lambda job, problem: None)
    assert Job("x", print, ()).name == "x"


def test_orphans_end_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "main.py").write_text(
        f"import jobs\n{IMPORTS}if __name__ == '__main__':\n"
        "    LocalPool().run([Job('w', jobs.wait, ('.', 'pid'))], lambda job, problem: None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment)
    try:
        child = int(eventually(lambda: (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert eventually(lambda: "" if alive(child) else "gone") == "gone"
    finally:
        parent.kill()


def eventually(look: object, seconds: float = 100) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = look()  # type: ignore[operator]
        if seen:
            return str(seen)
        time.sleep(0.05)
    return ""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_two_by_two_cells_with_one_worker_killed(sweeps_with_a_kill) -> None:
    assert sweeps_with_a_kill(LocalPool(2, threads=1)) == "killed by signal 9"


def heeding() -> None:
    """Heed Ctrl-C, which whatever runs in the background of a shell ignores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_a_terminal_leaves_the_workers_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "main.py").write_text(
        f"import jobs, sys\n{IMPORTS}if __name__ == '__main__':\n"
        "    try:\n        LocalPool().run([Job('h', jobs.heed, ('.', 'pid'))], print)\n"
        "    except KeyboardInterrupt:\n        sys.exit(130)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
                              text=True, start_new_session=True, preexec_fn=heeding)  # fmt: skip
    until = time.monotonic() + 120
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=60)[1] == ""
    assert parent.returncode == 130
