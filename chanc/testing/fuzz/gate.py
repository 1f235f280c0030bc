"""The gate: files by the thousand, each in a worker process that has a time limit and a memory limit.

The worker is a fork of this process, which has imported all that is needed and has no threads; one that hangs, dies or
grows is replaced by a fresh one.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from chanc.testing.fuzz.files import Mutant, mutant
from chanc.testing.fuzz.seeds import EXTERNAL, beside, seeds
from chanc.testing.fuzz.steps import Outcome, Trouble, through

SECONDS = 20.0
BYTES = 4 << 30
_CONTEXT = multiprocessing.get_context("fork")


def run(seed: int, numbers: Iterable[int], *, seconds: float = SECONDS) -> Iterator[tuple[Mutant, Outcome]]:
    """The files of these numbers, in order, and what became of each."""
    seeds()
    worker = _Worker()
    try:
        for number in numbers:
            made = mutant(seed, number)
            yield made, worker.outcome(made, seconds)
    finally:
        worker.end()


class _Worker:
    """A process that takes files, started when it is needed."""

    def __init__(self) -> None:
        self._process: ForkProcess | None = None
        self._pipe: Connection | None = None

    def outcome(self, made: Mutant, seconds: float) -> Outcome:
        """What becomes of a file."""
        pipe = self._started()
        pipe.send(made)
        if not self._answers(pipe, seconds):
            self.end()
            return _failed("hang", f"over {seconds:g} s", made)
        try:
            found, peak = pipe.recv()
        except EOFError:
            code = self.end()
            kind = "onnxruntime" if _ends_onnxruntime(made) else "crash"
            return _failed(kind, signal.Signals(-code).name if code < 0 else f"exit {code}", made)
        outcome: Outcome = found
        if peak > BYTES:
            self.end()
            return _failed("memory", f"over {BYTES >> 30} GB", made)
        return outcome

    def _answers(self, pipe: Connection, seconds: float) -> bool:
        """Whether an answer comes before the process has worked that long, or has slept three times as long."""
        assert self._process is not None
        begun = worked = _worked(self._process.pid)
        asleep = time.monotonic()
        while not pipe.poll(0.5):
            now = _worked(self._process.pid)
            if now - begun > seconds or time.monotonic() - asleep > 3 * seconds:
                return False
            if now > worked:
                worked, asleep = now, time.monotonic()
        return True

    def _started(self) -> Connection:
        if self._pipe is None:
            self._pipe, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_work, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe

    def end(self) -> int:
        """Stop the process; its exit code."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is None or pipe is None:
            return 0
        pipe.close()
        process.join(0.5)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode or 0


def _ends_onnxruntime(made: Mutant) -> bool:
    """Whether the file as it is ends a process that only runs it: no caller of onnxruntime can help that."""
    alone = """import sys
from chanc.backends import ort
from chanc.ir import load
model = load(sys.argv[1])
ort.fitting_feeds(model)"""
    with tempfile.TemporaryDirectory(prefix="chanc-fuzz-") as folder:
        (Path(folder) / EXTERNAL).write_bytes(beside())
        (Path(folder) / "model.onnx").write_bytes(made.data)
        command = [sys.executable, "-c", alone, os.path.join(folder, "model.onnx")]
        try:
            return subprocess.run(command, capture_output=True, check=False, timeout=3 * SECONDS).returncode < 0
        except subprocess.TimeoutExpired:
            return True  # it never ends by itself either


def _failed(kind: str, said: str, made: Mutant) -> Outcome:
    return Outcome(0, 0, (Trouble(kind, "", f"{kind}: {said}", made.made),))


def _work(pipe: Connection) -> None:
    """Take files until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = _memory("VmSize") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="chanc-fuzz-"))
    try:
        while True:
            made: Mutant = pipe.recv()
            # Nobody may be there any more to end a worker that hangs.
            resource.setrlimit(resource.RLIMIT_CPU, (int(_worked(os.getpid()) + 2 * SECONDS), resource.RLIM_INFINITY))
            pipe.send((taken(made, folder), _memory("VmHWM")))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def taken(made: Mutant, folder: Path, every: int = 1) -> Outcome:
    """What becomes of a file, in this process; `folder` is emptied. every: as in `through`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / EXTERNAL).write_bytes(beside())
    (folder / "model.onnx").write_bytes(made.data)
    return through(folder / "model.onnx", folder, made.number, every)


def _worked(pid: int | None) -> float:
    """Seconds of CPU time that a process has had; what else the machine does doesn't count."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) << 10
    return 0
