from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

# The tests share the cores: a thread that waits for another's share of a small network spins, ten times as long as all
# the work takes. Read when NumPy and torch are loaded; for onnxruntime, see below.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import onnx
import onnx_ir as ir
import pytest

from chanc import ir as chanc_ir
from chanc.backends import ort
from chanc.oracles import compare

for function in (ort.session, ort.run):
    function.__kwdefaults__["threads"] = 1

# Only a power cut would tell, and a test waits for the disk several thousand times.
os.fsync = lambda descriptor: None


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch with one thread, for tests whose networks are small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def zoo_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A network of the zoo as an ONNX file, exported once for all workers: `zoo_model("resnet34", width=16)`.

    With `stir` (the default) its normalisations get random statistics and parameters: fresh ones are ones and zeros,
    and would hide one that is resized wrongly. Without, exporters let equal tensors share one initializer.
    """
    torch = pytest.importorskip("torch")
    mine = tmp_path_factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "zoo"
    folder.mkdir(exist_ok=True)

    def make(name: str, *, width: int | None = None, exporter: str = "torchscript", stir: bool = True) -> Path:
        path: Path = folder / f"{name}-{width}-{exporter}-{stir}.onnx"
        if not path.exists():
            from chanc.frontends import zoo
            from chanc.frontends.torch import export

            torch.manual_seed(0)
            module = zoo.build(name, width=width)
            if stir:
                _stir(module)
            export(module, torch.rand(1, 3, 32, 32), path, exporter=exporter)
        return path

    return make


@pytest.fixture(scope="session")
def lines_run() -> Callable[[Callable[[], object]], int]:
    """How many lines of Python a call runs: how its work grows, whatever the machine does beside."""

    def count(function: Callable[[], object]) -> int:
        total = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal total
            total += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        finally:
            sys.settrace(before)
        return total

    return count


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """same(before, after): equal interfaces and, in onnxruntime, equal outputs up to 1e-4 of the largest value."""

    def check(before: Any, after: Any, *, batch: int = 2, tolerance: float = 1e-4) -> None:
        one, two = chanc_ir.load(before), chanc_ir.load(after)
        names = [[value.name for value in values] for values in (one.graph.outputs, two.graph.outputs)]
        assert names[0] == names[1]
        onnx.checker.check_model(chanc_ir.to_proto(two))
        feeds = ort.fitting_feeds(one, batch=batch)
        want, have = ort.run(one, feeds, exact=True), ort.run(two, feeds, exact=True)
        for found in compare(want, have, [str(name) for name in names[0]]):
            assert found.error <= tolerance, found

    return check


@pytest.fixture(scope="session")
def ops() -> Callable[[ir.Model], list[str]]:
    """The operators of a model's main graph, in order."""
    return lambda model: [node.op_type for node in model.graph]


WAITING = """
import gc, json, os, sys, traceback
sys.path[0] = os.getcwd()
import click, ml_dtypes, numpy, onnx, onnx_ir, rich.console
gc.freeze()
for asked in map(json.loads, sys.stdin):
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
for number, name in enumerate((os.devnull, *asked["streams"])):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
os.chdir(asked["folder"])
os.environ.clear()
os.environ.update(asked["environment"])
sys.path[:0] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
status = 0
try:
    exec(asked["code"], {"__name__": "__main__"})
except SystemExit as stop:
    status = stop.code
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(status or 0)  # not by the way out of Python, which touches, and so copies, every object
"""


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """fresh("print(1)", environment=..., folder=...): code in a process of its own, as by `python -c`.

    It is a copy of a process that waits: NumPy and onnx are loaded there, which takes most of a start, and nothing of
    chanc.
    """
    place = tmp_path_factory.mktemp("fresh")
    streams = [place / name for name in ("stdout", "stderr")]
    waiting = subprocess.Popen([sys.executable, "-c", WAITING], text=True, cwd=Path(__file__).parents[1],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert waiting.stdin is not None
    assert waiting.stdout is not None

    def run(code: str, environment: dict[str, str] | None = None, folder: Path | None = None) -> Any:
        for path in streams:
            path.write_text("")
        asked = {"code": code, "streams": list(map(str, streams)), "folder": str(folder or Path.cwd()),
                 "environment": dict(os.environ) if environment is None else environment}  # fmt: skip
        print(json.dumps(asked), file=waiting.stdin, flush=True)
        status = int(waiting.stdout.readline())
        return subprocess.CompletedProcess(code, status, *(path.read_text() for path in streams))

    yield run
    waiting.stdin.close()
    waiting.wait()


@pytest.fixture
def check_source(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """check_source(folder, *arguments): the exit code of the check.py in a folder of source, and what it says.

    In this process: one of its own would load torch once more.
    """

    def run(folder: Path, *arguments: object) -> tuple[int, str]:
        script = str(folder / "check.py")
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.delitem(sys.modules, "model", raising=False)
        code: object = 0
        with contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as stop:
                code = stop.code
            finally:
                sys.modules.pop("model", None)
        return (code, said.getvalue()) if isinstance(code, int) else (1, f"{said.getvalue()}{code}")

    return run


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """stranger(source, "chanc.ops"): the environment of a process in which another distribution is installed.

    Its module `strange` has the given source, and each entry point group named has `mine`, which is `target`.
    """

    def install(source: str, *groups: str, target: str = "strange") -> dict[str, str]:
        home = tmp_path / "site"
        info = home / "strange_ideas-1.2.dist-info"
        info.mkdir(parents=True)
        (home / "strange.py").write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-ideas\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("".join(f"[{group}]\nmine = {target}\n" for group in groups))
        before = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), *([before] if before else [])])}

    return install


def _stir(module) -> None:
    from torch import nn

    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0.0, 0.3)
            part.running_mean.normal_(0.0, 0.3)
            part.running_var.uniform_(0.5, 1.5)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a tmpfs is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
