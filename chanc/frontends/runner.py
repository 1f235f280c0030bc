"""Running a worker: a foreign road in a process of its own, which may crash, hang, print and exit as it likes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.errors import ChancError, MissingDependencyError, ModelError
from chanc.frontends.foreign import Foreign, Job
from chanc.frontends.worker import BOOT
from chanc.transforms import KnownNorm

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS = 1800.0
"""How long an export may take. A framework that hangs is ended then."""

_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",  # an export needs no GPU, and a GPU rounds in other ways
    "JAX_PLATFORMS": "cpu",
    "HF_HUB_OFFLINE": "1",
    "PYTHONSAFEPATH": "1",  # a user's json.py isn't the framework's
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Answer:
    """What a worker left: the file, an example's inputs and outputs in the graph's order, and what is known besides."""

    path: Path
    inputs: list[NDArray[Any]]
    outputs: list[NDArray[Any]]
    norms: list[KnownNorm]
    packages: str
    contract: dict[str, str]


@contextlib.contextmanager
def walked(word: str, road: Foreign, job: Job, python: str | None, seconds: float = SECONDS) -> Iterator[Answer]:
    """Run a road in `python` (None: this interpreter); its file is there while the block runs.

    word: of the frontend, for messages. Raises ModelError for an export that fails, dies or takes too long, with the
    last line that it printed; MissingDependencyError for packages that aren't there; ChancError for an interpreter that
    can't be run.
    """
    with tempfile.TemporaryDirectory(prefix="chanc-export-") as folder:
        home = Path(folder)
        job = replace(job, path=home / "model.onnx")
        asked = {**asdict(job), "path": str(job.path)}
        request = {"module": road.write.__module__, "function": road.write.__name__, "job": asked}
        (home / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _run(word, [python or sys.executable, "-c", BOOT, str(_package()), folder], home, seconds)
        answer = json.loads((home / "answer.json").read_text(encoding="utf-8"))
        if "error" in answer:
            raise (MissingDependencyError if answer["missing"] else ModelError)(f"{word}: {answer['error']}")
        if not job.path.exists():
            raise ModelError(f"{word}: the exporter wrote no file")
        yield _read(answer, home)


def _package() -> Path:
    return Path(__file__).resolve().parents[1]


def _run(word: str, command: list[str], home: Path, seconds: float) -> None:
    """Run a worker to its end, in a session of its own, so that what it started ends with it."""
    log = home / "log"
    environment = {**os.environ, **_ENVIRONMENT}
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                                       start_new_session=True)  # fmt: skip
        except OSError as error:
            raise ChancError(f"{command[0]} can't be run: {error.strerror}") from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ModelError(f"{word}: the export took more than {seconds:g} seconds, and was ended") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not (home / "answer.json").exists():
        raise ModelError(f"{word}: the exporter {_end(code)}{_last_line(log)}")


def _end(code: int) -> str:
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"; the last that it said: {lines[-1]}" if lines else ""


def _read(answer: dict[str, Any], home: Path) -> Answer:
    import numpy as np

    with np.load(home / "example.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    inputs, outputs = (_numbered(arrays, kind) for kind in ("input", "output"))
    norms = [
        KnownNorm(*(arrays[f"norm.{k}.{part}"] for part in KnownNorm._fields)) for k in range(_count(arrays, "norm"))
    ]
    return Answer(home / "model.onnx", inputs, outputs, norms, answer["packages"], answer["contract"])


def _numbered(arrays: dict[str, NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    return [arrays[f"{kind}.{k}"] for k in range(_count(arrays, kind))]


def _count(arrays: dict[str, NDArray[Any]], kind: str) -> int:
    return len({name.split(".")[1] for name in arrays if name.startswith(f"{kind}.")})
