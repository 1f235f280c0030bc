"""Cells on this machine: each a process of its own (spawn), so a crash or a full GPU takes down one and no more."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

from chanc.study.pools import Done, Job


@dataclass(frozen=True)
class LocalPool:
    """As many processes at a time as `workers`; with GPUs, each sees one of them (its number, or its UUID).

    threads: CPU threads of each; 0 leaves it to the environment.
    """

    workers: int = 1
    gpus: tuple[str, ...] = ()
    threads: int = 0

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Run all jobs. An interrupt stops the running ones and is passed on."""
        waiting = list(jobs)
        running: dict[int, tuple[Job, str, BaseProcess]] = {}
        slots = list(self.gpus) or [""] * max(1, self.workers)
        try:
            while waiting or running:
                while waiting and slots:
                    job, slot = waiting.pop(0), slots.pop(0)
                    process = self._start(job, slot)
                    running[process.sentinel] = (job, slot, process)
                ended = multiprocessing.connection.wait(list(running))
                for sentinel in [number for number in running if number in ended]:
                    job, slot, process = running.pop(sentinel)
                    process.join()
                    slots.append(slot)
                    done(job, _reason(process.exitcode))
        except BaseException:
            for _, _, process in running.values():
                process.terminate()
            for _, _, process in running.values():
                process.join(20)
                process.kill()
            raise

    def _start(self, job: Job, slot: str) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=_child, args=(os.getpid(), job.function, job.arguments), name=job.name
        )
        with _environment(self._variables(slot)), _interrupts_held():
            process.start()
        return process

    def _variables(self, slot: str) -> dict[str, str]:
        variables = {"CUDA_VISIBLE_DEVICES": slot} if slot else {}
        if self.threads:
            variables["OMP_NUM_THREADS"] = str(self.threads)
        return variables


def threads_each(at_once: int) -> int:
    """CPU threads of each of so many processes; 0 leaves it to OMP_NUM_THREADS, or a single process all of them."""
    if at_once == 1 or "OMP_NUM_THREADS" in os.environ:
        return 0
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // at_once)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by number; torch is asked in a process of its own, so as to hold none."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip() not in ("", "-1"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return tuple(str(number) for number in range(pool.apply(_count_gpus)))


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _child(parent: int, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Run a job, and end when the parent is gone: an orphan would hold its cell against the resumed sweep."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        function(*arguments)
    except KeyboardInterrupt:  # the pool asked for it
        sys.exit(130)


def _reason(exitcode: int | None) -> str:
    if exitcode == 0:
        return ""
    if exitcode is not None and exitcode < 0:
        return f"killed by signal {-exitcode}"
    return f"ended with exit code {exitcode}"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: those started meanwhile never hear it, and the pool stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start lets interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
