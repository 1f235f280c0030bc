"""What may happen to the files of a run, one function each: for tests, and for the table in docs/reliability.md.

    for damage in DAMAGES: damage.do(folder)

A run of `chanc.testing.toy` has every file that they touch. After each one a resumed run is refused in one line, and
`chanc fsck --mend` makes it whole; `mends` says otherwise: nothing but the user can bring the file back. `harmless` are
those that cost nothing: the run goes on as if killed there.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOG, TIMES, CONFIG, INPUT = "events.jsonl", "timing.jsonl", "config.json", "input.onnx"
MODEL, OTHER, STATE, FINAL = ("trials/001/model.onnx", "trials/000/model.onnx", "trials/001/optimizer.json",
                              "final/found-0/model.onnx")  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """One kind. mends: `chanc fsck --mend` and a resumed run make it whole; harmless: a resumed run does so alone."""

    name: str
    do: Callable[[Path], object]
    mends: bool = True
    harmless: bool = False


def flip(name: str, share: float, bit: int = 1) -> Callable[[Path], object]:
    """Flip a bit of the byte that lies at a share of a file's length."""

    def do(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(share * (len(data) - 1))] ^= bit
        (folder / name).write_bytes(data)

    return do


def cut(name: str, share: float) -> Callable[[Path], object]:
    """Keep the first part of a file."""
    return lambda folder: (folder / name).write_bytes((data := (folder / name).read_bytes())[: int(share * len(data))])


def put(name: str, data: bytes) -> Callable[[Path], object]:
    """Put something else in a file's place."""
    return lambda folder: (folder / name).write_bytes(data)


def take(name: str, other: str) -> Callable[[Path], object]:
    """Put another file of the run in a file's place."""
    return lambda folder: (folder / name).write_bytes((folder / other).read_bytes())


def remove(name: str) -> Callable[[Path], object]:
    """Delete a file."""
    return lambda folder: (folder / name).unlink()


def lines(change: Callable[[list[bytes]], list[bytes]], name: str = LOG) -> Callable[[Path], object]:
    """Change the lines of a log."""

    def do(folder: Path) -> None:
        found = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(change(found)))

    return do


def field(kind: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    """Change the last event of a kind, and give its line the right checksum: no accident, but not a run's either."""

    def do(folder: Path) -> None:
        found = (folder / LOG).read_text().splitlines(keepends=True)
        place = max(number for number, line in enumerate(found) if json.loads(line)["kind"] == kind)
        fields = json.loads(found[place])
        del fields["crc"]
        change(fields)
        head = json.dumps(fields, ensure_ascii=False)[:-1]
        found[place] = f'{head}, "crc": "{zlib.crc32(head.encode()):08x}"}}\n'
        (folder / LOG).write_text("".join(found))

    return do


def _narrow(fields: dict[str, object]) -> None:
    decision = fields["decision"]
    assert isinstance(decision, dict)
    decision["widths"]["a"] = 0


def _without(name: str) -> Callable[[dict[str, object]], object]:
    return lambda fields: fields.pop(name)


def _with(**more: object) -> Callable[[dict[str, object]], object]:
    return lambda fields: fields.update(more)


DAMAGES = (
    *(Damage(f"a flipped bit in the log, at {share:.0%}", flip(LOG, share)) for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9)),
    Damage("a flipped bit that breaks the encoding of the log", flip(LOG, 0.4, 128)),
    Damage("two lines of the log are one", lines(lambda all: [*all[:2], all[2][:-1] + b"*", *all[3:]])),
    Damage("a line of the log is two", lines(lambda all: [*all[:2], all[2][:40] + b"\n" + all[2][40:], *all[3:]])),
    Damage("the first line of the log is gone", lines(lambda all: all[1:])),
    Damage("a line in the middle is gone", lines(lambda all: [*all[:3], *all[4:]])),
    Damage("three lines in the middle are gone", lines(lambda all: [*all[:3], *all[6:]])),
    Damage("the last lines are gone", lines(lambda all: all[:-2]), harmless=True),
    Damage("the last line is cut", lines(lambda all: [*all[:-1], all[-1][:50]]), harmless=True),
    Damage("the log is cut in the middle", cut(LOG, 0.5), harmless=True),
    Damage("a line in the middle is cut", lines(lambda all: [*all[:3], all[3][:50] + b"\n", *all[4:]])),
    Damage("a line stands there twice", lines(lambda all: [*all[:4], *all[3:]])),
    Damage("the last line stands there twice", lines(lambda all: [*all, all[-1]])),
    Damage("two lines have changed places", lines(lambda all: [*all[:3], all[4], all[3], *all[5:]])),
    Damage("the log stands there twice", lines(lambda all: [*all, *all])),
    Damage("an empty line in the log", lines(lambda all: [*all[:3], b"\n", *all[3:]])),
    Damage("zeros in the log, as a crash of the machine leaves them", lines(lambda all: [*all, b"\0" * 100 + b"\n"])),
    Damage("zeros at the end of the log, without a newline", lines(lambda all: [*all, b"\0" * 100]), harmless=True),
    Damage("the log is empty", put(LOG, b""), harmless=True),
    Damage("the log is gone", remove(LOG), harmless=True),
    Damage("a trial with 0 channels, its checksum right", field("trial", _narrow)),
    Damage("a trial without its score, its checksum right", field("trial", _without("score"))),
    Damage("a trial with a field that there isn't, its checksum right", field("trial", _with(when="today"))),
    Damage("a trial whose file lies outside the run, its checksum right", field("trial", _with(file="../../x"))),
    Damage("an event of a kind that there isn't, its checksum right", field("trial", _with(kind="party"))),
    Damage("a line of another version", field("trial", _with(v=2))),
    Damage("a flipped bit in a trial's model", flip(MODEL, 0.5)),
    Damage("another trial's model", take(MODEL, OTHER)),
    Damage("a trial's model is cut", cut(MODEL, 0.5)),
    Damage("a trial's model is empty", put(MODEL, b"")),
    Damage("a flipped bit in the learning rates that a trial hands on", flip(STATE, 0.5)),
    Damage("the learning rates of another trial", put(STATE, b"other")),
    Damage("a flipped bit in a final training's model", flip(FINAL, 0.5)),
    Damage("another rival's model", take(FINAL, "final/baseline-0/model.onnx")),
    Damage("a final training's model is gone", remove(FINAL), harmless=True),
    Damage("a flipped bit in the times", flip(TIMES, 0.5)),
    Damage("a line of the times is cut", lines(lambda all: [all[0][:10] + b"\n", *all[1:]], TIMES)),
    Damage("the times are gone", remove(TIMES), harmless=True),
    Damage("a flipped bit in the model that the run was begun with", flip(INPUT, 0.5), mends=False),
    Damage("another model in its place", take(INPUT, MODEL), mends=False),
    Damage("a flipped bit in config.json", flip(CONFIG, 0.5), mends=False),
    Damage("config.json is cut", cut(CONFIG, 0.5), mends=False),
    Damage("config.json is empty", put(CONFIG, b""), mends=False),
    Damage("config.json is a list", put(CONFIG, b"[]"), mends=False),
    Damage("config.json of an older chanc", put(CONFIG, b'{"format": 2}'), mends=False),
    Damage("config.json is gone", remove(CONFIG), mends=False),
)
