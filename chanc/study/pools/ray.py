"""Cells on Ray: a cluster that is running, or one that is started on this machine for the time of the sweep.

A cell is a task that Ray starts once, in a worker process that ends with it, with one GPU where the cluster has any.
The sweep's folder, the model and the data have to lie on a file system that all machines share, under the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TypedDict

from chanc.errors import MissingDependencyError, RunError
from chanc.study.pools import Done, Job, attempt

GRACE = 20.0
"""Seconds that interrupted cells have to end by themselves."""


class Node(TypedDict):
    """What Ray tells of a machine: CPU and GPU are among its resources."""

    Alive: bool
    Resources: Mapping[str, float]


@dataclass(frozen=True)
class Share:
    """What the cells get: how many run at once, CPUs (and threads) of each, GPUs of each."""

    at_once: int
    cpus: int
    gpus: int


class RayPool:
    """Runs cells on Ray, `workers` at a time; 0: one a GPU, or one a CPU where there is no GPU.

    address: `local` to start a Ray here, `auto` for the one that runs here, or host:port of a cluster's head. Connects
    at once, and stays so until `close` or the end of the process. Raises MissingDependencyError without Ray, RunError
    where none answers.
    """

    def __init__(self, address: str, workers: int = 0) -> None:
        self._ray = _connect(address)
        self.share = share(self._ray.nodes(), workers)

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Run all jobs. An interrupt cancels the running ones and is passed on."""
        ray, given = self._ray, self.share
        task = ray.remote(num_cpus=given.cpus, num_gpus=given.gpus, max_calls=1, max_retries=0)(_work)
        waiting = list(jobs)
        running: dict[object, Job] = {}
        try:
            while waiting or running:
                while waiting and len(running) < given.at_once:
                    job = waiting.pop(0)
                    running[task.options(name=job.name).remote(os.getcwd(), job)] = job
                for ref in ray.wait(list(running))[0]:
                    done(running.pop(ref), _problem(ray, ref))
        except BaseException:
            _cancel(ray, list(running))
            raise

    def close(self) -> None:
        """Leave the cluster, or end the Ray that was started here."""
        self._ray.shutdown()


def share(nodes: Sequence[Node], workers: int) -> Share:
    """Divide a cluster among `workers` cells at a time (0: as many as it has GPUs, or else CPUs).

    A cell asks for no more CPUs than the smallest machine that may run it has. Raises RunError where none may.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    gpus = int(any(machine.get("GPU", 0) >= 1 for machine in machines))
    machines = [machine for machine in machines if machine.get("GPU", 0) >= gpus]
    if not machines:
        raise RunError("no machine of this Ray has a CPU to give")
    places = sum(int(machine["GPU" if gpus else "CPU"]) for machine in machines)
    at_once = min(workers or places, places)
    cpus = [int(machine["CPU"]) for machine in machines]
    return Share(at_once, max(1, min(*cpus, sum(cpus) // at_once)), gpus)


def _connect(address: str) -> ModuleType:
    local: dict[str, object] = {}
    if address == "local":
        # A Ray runs what it is sent: this one listens on the loopback alone, as Ray has it where clusters can't be (it
        # asks this variable on its import), and the token keeps other users of the machine out.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own is 15: cells would starve beside anything else
        local = {"include_dashboard": False, "object_store_memory": 100 << 20}
    elif address != "auto":
        _reach(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("--ray needs Ray: pip install 'chanc[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
        except (Exception, SystemExit) as error:  # Ray raises bare ones too, for a start that took too long
            why = " ".join(str(error).split())
            if why.startswith("Failed to connect") and "RAY_AUTH_MODE" not in os.environ:
                why += " (does it ask for a token? then set RAY_AUTH_MODE=token)"
            raise RunError(f"no Ray at {address!r}: {why}") from None
    connected: ModuleType = ray
    return connected


def _reach(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for minutes, and then end the process."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise RunError(f"{address!r} is no address of a Ray: it is local, auto, or host:port of the head (port 6379)")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"no Ray at {address!r}: {getattr(error, 'strerror', None) or error}") from None


def _work(folder: str, job: Job) -> str:
    """What a worker does: a job, in the working directory of the sweep where this machine has it."""
    with contextlib.suppress(OSError):
        os.chdir(folder)
    return attempt(job)


def _problem(ray: ModuleType, ref: object) -> str:
    """What went wrong with a task that has ended, or ""."""
    try:
        return str(ray.get(ref))
    except ray.exceptions.WorkerCrashedError:
        return "its worker was killed"
    except ray.exceptions.RayTaskError as error:
        return next(line for line in reversed(str(error).splitlines()) if line.strip()).strip()
    except ray.exceptions.RayError as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


def _cancel(ray: ModuleType, refs: Sequence[object]) -> None:
    """Stop tasks as Ctrl-C would, and those that don't listen by force."""
    if not refs:
        return
    for ref in refs:
        ray.cancel(ref)
    for ref in ray.wait(list(refs), num_returns=len(refs), timeout=GRACE)[1]:
        ray.cancel(ref, force=True)
