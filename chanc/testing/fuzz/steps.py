"""What is done with a mutated file: each step of the way may end in a ChancError or succeed, and nothing else.

A rewritten model that is accepted must be right, unless its original is no valid model.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

import chanc
from chanc.analysis.fold_shapes import settled
from chanc.analysis.infer_shapes import infer_shapes
from chanc.errors import ChancError, NotUnderstood
from chanc.ir.normalize import normalize
from chanc.ir.verify import verify
from chanc.transforms import channels_first, fold_batchnorm, recover_affine, recover_groupnorm

_ROUTES: dict[str, dict[str, Any]] = {"half": {"scale": 0.5}, "widen": {"scale": 1.5, "transfer": "widen"}}
_OTHERS: tuple[dict[str, Any], ...] = (
    {"scale": 0.6, "transfer": "svd"},
    {"scale": 1.5, "transfer": "reflect"},
    {"scale": 0.5, "importance": "geometric_median", "transfer": "init"},
    {"scale": 2.0, "round_to": 8, "exact": True},
    {"scale": 0.3, "importance": "bn", "fold": False},
)
"""Other ways to rewrite, of which each file goes one."""
_PASSES: tuple[Callable[[ir.Model], object], ...] = (
    normalize, infer_shapes, settled, fold_batchnorm, recover_affine, recover_groupnorm, channels_first,
)  # fmt: skip
"""What the passes of the compiler do, each by itself; likewise."""

COMMAND_EVERY = 20
"""One file in so many goes through the command line as well."""
_COMMANDS = (
    ("analyze", "{model}", "--deps", "--json", "{out}"),
    ("rewrite", "{model}", "-o", "{out}", "--scale", "0.5"),
    ("codegen", "{model}", "-o", "{out}"),
)


@dataclass(frozen=True)
class Trouble:
    """What went wrong in one step.

    kind: "exception", "wrong", "memory", "command". place: where, in a line: troubles of one place are one defect.
    text: what was said.
    """

    kind: str
    step: str
    place: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """Of one file: how many steps succeeded and were refused, the troubles, and what only the boundary kept in."""

    done: int
    refused: int
    troubles: tuple[Trouble, ...]
    stumbles: tuple[Trouble, ...] = ()


class _Steps:
    """Runs steps, and counts."""

    def __init__(self) -> None:
        self.done = self.refused = 0
        self.troubles: list[Trouble] = []
        self.stumbles: list[Trouble] = []

    def run(self, name: str, step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What the step returns, or None."""
        try:
            result = step(*arguments, **options)
        except ChancError as error:
            self.refused += 1
            self._refusal(name, error)
        except MemoryError as error:
            self.troubles.append(Trouble("memory", name, place(error), repr(error)))
        except Exception as error:
            self.troubles.append(Trouble("exception", name, place(error), f"{type(error).__name__}: {error}"[:200]))
        else:
            self.done += 1
            return result
        return None

    def _refusal(self, name: str, error: ChancError) -> None:
        text = str(error)
        if not text:
            self.troubles.append(Trouble("message", name, place(error), text[:200]))
        if isinstance(error, NotUnderstood) and error.__cause__ is not None:
            self.stumbles.append(Trouble("stumble", name, place(error.__cause__), text[:200]))


def through(path: Path, folder: Path, number: int, every: int = 1) -> Outcome:
    """Take file `number` through the public functions, one in some through the command line too.

    Results go to `folder`. every: a file goes only one in so many steps, each file others.
    """
    steps = _Steps()
    ways: list[Callable[[], None]] = [
        lambda: steps.run("analyze", _analysed, path),
        *(functools.partial(_rewritten, steps, path, folder, *route) for route in _ROUTES.items()),
        lambda: steps.run("other", chanc.rewrite, path, **_OTHERS[number % len(_OTHERS)]),
        lambda: steps.run("passes", _passed, path, _PASSES[number % len(_PASSES)]),
        lambda: steps.run("codegen", chanc.codegen, path, folder / "source"),
        lambda: _commanded(steps, path, folder) if number % COMMAND_EVERY == 0 else None,
    ]
    for way in itertools.islice(ways, number % every, None, every):
        way()
    return Outcome(steps.done, steps.refused, tuple(steps.troubles), tuple(steps.stumbles))


def _rewritten(steps: _Steps, path: Path, folder: Path, name: str, options: dict[str, Any]) -> None:
    """Rewrite, judge and write."""
    made = steps.run(name, chanc.rewrite, path, **options)
    if made is None or not made.changed:
        return
    steps.run("save", chanc.save, made.model, folder / f"{name}.onnx")
    verdict = steps.run(f"verify {name}", chanc.verify, path, made.model, trace=made.trace)
    if verdict is not None and verdict.wrong is not None:
        steps.troubles.append(Trouble("wrong", name, verdict.wrong.subject, str(verdict.wrong)[:300]))


def _commanded(steps: _Steps, path: Path, folder: Path) -> None:
    for arguments in _COMMANDS:
        steps.troubles += _command(arguments, path, folder / f"out-{arguments[0]}")


def _passed(path: Path, work: Callable[[ir.Model], object]) -> None:
    """One pass of the compiler, and what it makes written."""
    model = chanc.load(path)
    if work in (infer_shapes, settled):
        normalize(model)
    work(model)
    verify(model)
    chanc.save(model, path.with_name("passed.onnx"))


def _analysed(path: Path) -> None:
    found = chanc.analyze(path)
    found.node_costs()
    repr(found.cost)


def _command(arguments: tuple[str, ...], model: Path, out: Path) -> Iterator[Trouble]:
    """Run one command in this process: it must end with 0, or with 1, one line on stderr, and nothing written."""
    said, told, code, before = io.StringIO(), io.StringIO(), 0, sys.argv
    step = f"chanc {arguments[0]}"
    sys.argv = ["chanc", *(part.format(model=os.fspath(model), out=os.fspath(out)) for part in arguments)]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(told):
            runpy.run_module("chanc", run_name="__main__")
    except SystemExit as stop:
        code = int(stop.code or 0)
    except Exception as error:
        yield Trouble("exception", step, place(error), f"{type(error).__name__}: {error}"[:200])
        return
    finally:
        sys.argv = before
    text = said.getvalue()
    if code not in (0, 1):
        yield Trouble("command", step, f"exit code {code}", text[:200])
    if code == 1 and (len(text.splitlines()) != 1 or out.exists()):
        yield Trouble("command", step, "written" if out.exists() else "not one line on stderr", text[:200])
    if any(ord(letter) < 32 and letter != "\n" and letter != "\t" for letter in text + told.getvalue()):
        yield Trouble("command", step, "control characters", repr(text)[:200])


def place(error: BaseException) -> str:
    """Where an exception came from: its type, and the innermost line of chanc that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "/chanc/" in frame.filename and "/testing/fuzz/" not in frame.filename]
    last = next(itertools.chain(reversed(inside), reversed(frames)))
    return (
        f"{type(error).__name__} at {last.filename.partition('/chanc/')[2] or last.filename}:{last.lineno} {last.name}"
    )
