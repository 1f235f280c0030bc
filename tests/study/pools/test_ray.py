from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from chanc.errors import MissingDependencyError, RunError
from chanc.study.pools import Job
from chanc.study.pools.ray import RayPool, Share, share
from chanc.testing.sockets import exposed, listening


def machine(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, object]:
    return {"Alive": alive, "Resources": {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}}


@pytest.mark.parametrize(
    ("machines", "workers", "expected"),
    [
        ([machine(2)], 0, Share(2, 1, 0)),
        ([machine(8)], 2, Share(2, 4, 0)),
        ([machine(8)], 20, Share(8, 1, 0)),
        ([machine(64, 8)], 0, Share(8, 8, 1)),
        ([machine(0), machine(16, 4), machine(64)], 0, Share(4, 4, 1)),  # a head without CPUs, a machine without GPUs
        ([machine(16, 4), machine(4, 4)], 2, Share(2, 4, 1)),  # no more CPUs than the smaller one has
        ([machine(2, 8)], 0, Share(8, 1, 1)),
        ([machine(16), machine(64, alive=False)], 1, Share(1, 16, 0)),
    ],
)
def test_a_cluster_is_divided(machines, workers: int, expected: Share) -> None:
    assert share(machines, workers) == expected


def test_a_cluster_without_cpus_is_refused() -> None:
    with pytest.raises(RunError, match="no machine of this Ray has a CPU to give"):
        share([machine(0), machine(8, alive=False)], 0)


def test_bad_addresses_are_refused_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(RunError, match=rf"^no Ray at '{address}': Connection refused$"):
            RayPool(address)
    for text in ("head", "head:port", "ray://head:10001", ":6379"):
        with pytest.raises(RunError, match="is no address of a Ray"):
            RayPool(text)


def test_ray_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"^--ray needs Ray: pip install 'chanc\[ray\]'$"):
        RayPool("local")


def _needs_ray() -> None:
    """Skip without Ray, and don't import it: it reads how to authenticate then, and the pool says so before."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")


@pytest.fixture(scope="module")
def pool(jobs_module):
    """A Ray of this machine, started once; its workers find what is importable here."""
    _needs_ray()
    made = RayPool("local", workers=2)
    yield made
    made.close()


class _Ray(ModuleType):
    """Ray as far as it is started, and how that was asked for."""

    def init(self, **asked: object) -> None:
        self.asked = {**asked, **{name: value for name, value in os.environ.items() if name.startswith("RAY_")}}

    def is_initialized(self) -> bool:
        return False

    def nodes(self) -> list[dict[str, object]]:
        return [machine(2)]


def test_a_ray_that_is_started_here_is_closed_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_worker_niceness",
                 "RAY_USAGE_STATS_ENABLED"):  # fmt: skip
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    tokens = set()
    for _ in range(2):
        ray = _Ray("ray")
        monkeypatch.setitem(sys.modules, "ray", ray)
        RayPool("local")
        assert ray.asked["include_dashboard"] is False
        assert ray.asked["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
        assert ray.asked["RAY_AUTH_MODE"] == "token"
        assert ray.asked["RAY_USAGE_STATS_ENABLED"] == "0"
        tokens.add(ray.asked["RAY_AUTH_TOKEN"])
        monkeypatch.delenv("RAY_AUTH_TOKEN")
    assert len(tokens) == 2
    assert all(len(token) == 32 for token in tokens)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_socket_of_it_is_open_to_the_network(pool: RayPool) -> None:
    assert listening() > 3
    assert exposed() == []


@pytest.mark.nightly
def test_jobs_end_one_by_one_with_their_reasons(pool: RayPool, jobs, ends, tmp_path: Path) -> None:
    told: dict[str, str] = {}
    functions = {"a": jobs.write, "b": jobs.fail, "c": jobs.told, "d": jobs.die, "e": jobs.write}
    todo = [Job(name, function, (str(tmp_path / name),)) for name, function in functions.items()]
    pool.run(todo, lambda job, problem: told.update({job.name: problem}))
    assert told == {"a": "", "b": "ended with exit code 3", "c": "ValueError: no luck", "d": "its worker was killed",
                    "e": ""}  # fmt: skip
    assert (tmp_path / "a").read_text() == f"{pool.share.cpus} {tmp_path}"
    pool.run([], lambda job, problem: None)

    def interrupt(job: Job, problem: str) -> None:
        assert (job.name, problem) == ("x", "")
        raise KeyboardInterrupt

    pid = str(tmp_path / "pid")
    with pytest.raises(KeyboardInterrupt):
        pool.run([Job("w", jobs.wait, (pid,)), Job("x", jobs.after, (pid,))], interrupt)
    assert ends(int(Path(pid).read_text()))


@pytest.mark.nightly
def test_two_by_two_cells_with_one_worker_killed(pool: RayPool, sweeps_with_a_kill) -> None:
    assert sweeps_with_a_kill(pool) == "its worker was killed"


@pytest.mark.nightly
def test_nothing_is_left_of_a_killed_sweep(jobs, ends, tmp_path: Path) -> None:
    _needs_ray()
    main = "from chanc.study.pools import Job\nfrom chanc.study.pools.ray import RayPool\nimport pool_jobs\n"
    main += "RayPool('local').run([Job('w', pool_jobs.wait, ('pid',))], print)\n"
    parent = subprocess.Popen([sys.executable, "-c", main])
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "pid").exists() and time.monotonic() < end:
            time.sleep(0.1)
        child = int((tmp_path / "pid").read_text())
        os.kill(parent.pid, signal.SIGKILL)
        assert ends(child)
    finally:
        parent.kill()
        parent.wait()
