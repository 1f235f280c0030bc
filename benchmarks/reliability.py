"""The rows of docs/reliability.md: what was tried, how often, and how often nothing was lost.

    python benchmarks/reliability.py [--rows NAME...] [--again] [--step N] [--files N] [--gb GB]

Each row is kept in benchmarks/results/reliability.json once it is measured, and not measured again unless --again says
so; then the table of the page is written. --step N kills at every N-th operation only. Rows that mount file systems
need a kernel that lets a user do so in a namespace of his own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with more can't be forked

import machines
import tiny
from arguments import at_least, target

from chanc.errors import ChancError
from chanc.runs import read_run
from chanc.runs.fsck import check, mend
from chanc.testing import toy
from chanc.testing.damages import DAMAGES
from chanc.testing.kills import Disk, child, contents, kills, operations

HOME = Path(__file__).resolve().parents[1]
RESULTS, PAGE = HOME / "benchmarks/results/reliability.json", HOME / "docs/reliability.md"
NOBODY = 65534


@dataclass(frozen=True)
class Row:
    """What was tried, how often, how often it held, and what there is to say of it."""

    what: str
    tried: int
    held: int
    note: str = ""


def killed(options: argparse.Namespace, folder: Path, name: str) -> Row:
    """Killed at operations of the disk and done again: the same files with the same content."""
    work = tiny.WORKS[name]
    count = operations(work, folder)
    calm = tiny.left(folder / "counted")
    numbers = range(1, count + 1, options.step)
    held = 0
    for number, place in kills(work, folder, numbers):
        same = tiny.left(place) == calm
        held += same
        if not same:
            print(f"{name}: killed at operation {number}, it comes out another one", file=sys.stderr)
        shutil.rmtree(place)
    every = "every" if options.step == 1 else f"every {options.step}th"
    called = {"train": "training"}.get(name, name)
    return Row(f"a {called} killed at {every} of {count} operations on the disk", len(numbers), held,
               "done again, byte by byte the same files, none left over")  # fmt: skip


def toy_killed(options: argparse.Namespace, folder: Path) -> Row:
    """The same for a search that trains nothing, at every operation."""
    count = operations(toy.search, folder)
    calm = contents(folder / "counted", but=toy.CLOCKS)
    held = sum(contents(place, but=toy.CLOCKS) == calm for _, place in kills(toy.search, folder, range(1, count + 1)))
    return Row(f"a search without trainings killed at every of {count} operations on the disk", count, held,
               "gone on with, byte by byte the same files, none left over")  # fmt: skip


def disks(options: argparse.Namespace, folder: Path) -> Row:
    """Disks of ten sizes that fill up under a search; then they are made larger."""
    tiny.search(folder / "calm")
    calm = tiny.left(folder / "calm")
    whole = sum(path.stat().st_size for path in (folder / "calm").rglob("*") if path.is_file()) // 1024
    held = 0
    for part in range(1, 11):
        with _mounted(folder / f"disk-{part}", f"size={max(4, part * whole // 11)}k") as disk:
            full = child(tiny.search, disk / "run")
            readable = not (disk / "run/config.json").exists() or bool(read_run(disk / "run"))
            _mount(disk, "remount,size=1g")
            ended = child(tiny.search, disk / "run")
            if not (right := full == 1 and readable and ended == 0 and tiny.left(disk / "run") == calm):
                print(f"disk {part}: exit codes {full} and {ended}, readable: {readable}", file=sys.stderr)
            held += right
    return Row(f"disks of ten sizes, to ten elevenths of the {whole} KB that a search takes, that fill up under it", 10,
               held, "one line; the log can be read; with more room it goes on to the same files")  # fmt: skip


def refused(options: argparse.Namespace, folder: Path) -> Row:
    """File systems and folders that may not be written."""
    held = 0
    for number, (name, work) in enumerate(tiny.WORKS.items()):
        with _mounted(folder / f"read-only-{number}", "size=16m") as disk:
            work(disk / name)
            before = tiny.left(disk / name)
            _mount(disk, "remount,ro")
            codes = child(work, disk / name), child(work, disk / "other")
            if not (right := codes == (1, 1) and tiny.left(disk / name) == before):
                print(f"{name}, read-only: exit codes {codes}", file=sys.stderr)
            held += right
        mine = folder / f"mine-{number}"
        mine.mkdir(mode=0o755)
        code = child(functools.partial(_as_nobody, work), mine / name)
        if not (right := code == 1 and not any(mine.iterdir())):
            print(f"{name} in a folder of somebody else: exit code {code}", file=sys.stderr)
        held += right
    return Row("a search, a training and a sweep in a read-only file system, and in a folder of somebody else", 6, held,
               "one line; nothing is written")  # fmt: skip


def _as_nobody(work: Callable[[Path], object], place: Path) -> None:
    os.setuid(NOBODY)
    work(place)


@contextlib.contextmanager
def _mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    _mount(place, options)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


def races(options: argparse.Namespace, folder: Path) -> Row:
    """Two processes on one run, at the same moment."""
    toy.search(folder / "calm")
    calm = contents(folder / "calm", but=toy.CLOCKS)
    held = 0
    for number, (state, first, second) in enumerate(RACES):
        place = folder / f"race-{number}"
        state(place)
        codes = _together([first, second], place)
        ended = child(toy.search, place) == 0 and contents(place, but=toy.CLOCKS) == calm
        sound = not [one for one in check(place) if one.state != "ok"]
        if not (right := set(codes) <= {0, 1, 137} and ended and sound):
            print(f"race {number}: exit codes {codes}, the same: {ended}, sound: {sound}", file=sys.stderr)
        held += right
    for name in ("train", "sweep"):
        tiny.WORKS[name](folder / f"calm-{name}")
        codes = _together([tiny.WORKS[name]] * 2, folder / name)
        ended = child(tiny.WORKS[name], folder / name) == 0
        same = tiny.left(folder / name) == tiny.left(folder / f"calm-{name}")
        if not (right := set(codes) <= {0, 1} and ended and same):
            print(f"race of {name}: exit codes {codes}, ended: {ended}, the same: {same}", file=sys.stderr)
        held += right
    return Row("two processes on one run, one training or one sweep at the same moment", len(RACES) + 2, held,
               "one is told that another is at work, or both come to the same; afterwards all is sound")  # fmt: skip


def _begun(place: Path) -> None:
    child(toy.search, place, Disk(kill_at=60))


def _bare(place: Path) -> None:
    """Nothing is there yet."""


def _killed(place: Path) -> None:
    from chanc.testing.kills import watch

    watch(Disk(kill_at=40))
    toy.search(place)


RACES: list[tuple[Callable[[Path], object], Callable[[Path], object], Callable[[Path], object]]] = [
    (_bare, toy.search, toy.search), (_begun, toy.search, toy.search), (toy.search, toy.search, toy.search),
    (_begun, toy.search, mend), (_begun, toy.search, check), (_begun, toy.search, read_run),
    (_begun, toy.search, _killed),
]  # fmt: skip
"""What there is, and two pieces of work."""


def _together(works: list[Callable[[Path], object]], place: Path) -> list[int]:
    """The exit codes of children that begin at the same moment."""
    gate, opened = os.pipe()
    numbers = []
    for work in works:
        number = os.fork()
        if not number:
            os.close(opened)
            os.read(gate, 1)
            os._exit(child(work, place))
        numbers.append(number)
    os.close(opened)
    os.close(gate)
    return [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers]


def damages(options: argparse.Namespace, folder: Path) -> Row:
    """Each kind of damage: refused in one line, mended, and resumed to the same results."""
    toy.search(folder / "calm")
    calm = {event.id: event for event in read_run(folder / "calm").trials}
    held, mended = 0, 0
    for number, damage in enumerate(DAMAGES):
        place = folder / str(number)
        shutil.copytree(folder / "calm", place)
        damage.do(place)
        if not damage.harmless:
            try:
                toy.search(place)
            except ChancError as error:
                refused = "\n" not in str(error)
            else:
                refused = False
            left = [one for one in mend(place) if one.bad]
            if left or not refused:
                held += refused and not damage.mends
                continue
        toy.search(place)
        held += {event.id: event for event in read_run(place).trials} == calm
        mended += 1
    return Row("damaged run directories, each of another kind", len(DAMAGES), held,
               f"refused in one line, or, as after a kill, gone on with; {mended} come to the same results, after "
               f"`chanc fsck --mend` where need be; of the others it says what is wrong")  # fmt: skip


def kernels(options: argparse.Namespace, folder: Path) -> Row:
    """The same search with other kernels and threads."""
    return Row(*machines.measure(folder))


def fuzzed(options: argparse.Namespace, folder: Path) -> Row:
    """Mutated models through the functions and the command line."""
    command = [sys.executable, "-m", "chanc.testing.fuzz", "--files", str(options.files)]
    done = subprocess.run(command, capture_output=True, text=True)
    wrong = re.findall(r"^(exception|message|command|wrong|hang|memory|crash)\s+(\d+) files", done.stdout, re.MULTILINE)
    if not wrong:
        raise SystemExit(f"{' '.join(command)}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return Row("mutated models, through the functions and the command line", options.files,
               options.files - sum(int(count) for _, count in wrong), done.stdout.splitlines()[0])  # fmt: skip


def data(options: argparse.Namespace, folder: Path) -> Row:
    """Data sets of all kinds, whole, odd and broken."""
    from chanc.testing.datasets import cases

    found = [right for _, right, _ in cases(folder)]
    return Row("data sets, each of another kind", len(found), sum(found),
               "their pixels keep their values, or one line says what is wrong")  # fmt: skip


def big(options: argparse.Namespace, folder: Path) -> Row:
    """A model that protobuf can't hold."""
    command = [sys.executable, str(HOME / "benchmarks/big_model.py"), "--gb", str(options.gb), "--repeats", "1",
               "--rows", "load", "check", "save", "half", "--folder", str(folder)]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line.strip("| ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    return Row(f"a model of {options.gb:g} GB loaded, checked, saved and halved", 4, len(lines), "; ".join(lines))


def nodes(options: argparse.Namespace, folder: Path) -> Row:
    """A network of 30,000 nodes."""
    from scaling import residual

    return _large("nodes", residual(30_000, 32))


def groups(options: argparse.Namespace, folder: Path) -> Row:
    """A network of 10,000 channel groups."""
    from chanc.testing.graphs import Graph

    x = Graph().input("image", [1, 3, 32, 32], dynamic={0: "n"})
    for _ in range(10_000):
        x = x.conv(16).relu()
    return _large("groups", x.graph.model(x.gap().flatten().gemm(10)))


def _large(what: str, model: object) -> Row:
    import chanc

    begun = time.process_time()
    analysis = chanc.analyze(model)
    half = chanc.rewrite(model, scale=0.5).model
    seconds, changed = time.process_time() - begun, chanc.analyze(half)
    may = [group for group in analysis.groups if group.resizable]
    after = {group.id: group.size for group in changed.groups}
    right = sum(after.get(group.id) == group.size // 2 for group in may)
    count = len(list(analysis.model.graph))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return Row(f"channel groups of a network of {count:,} nodes, halved", len(may), right,
               f"analysed and rewritten in {seconds:.0f} s of CPU, {peak:.1f} GB at most")  # fmt: skip


ROWS: dict[str, Callable[[argparse.Namespace, Path], Row]] = {
    "fuzzed": fuzzed,
    "toy": toy_killed,
    "search": lambda options, folder: killed(options, folder, "search"),
    "train": lambda options, folder: killed(options, folder, "train"),
    "sweep": lambda options, folder: killed(options, folder, "sweep"),
    "disks": disks,
    "refused": refused,
    "races": races,
    "damages": damages,
    "data": data,
    "kernels": kernels,
    "big": big,
    "nodes": nodes,
    "groups": groups,
}
MOUNTING = ("disks", "refused")


def measure(name: str, options: argparse.Namespace) -> Row:
    """A row, measured in a process of its own."""
    if name in MOUNTING and not options.inside:
        command = ["unshare", "--map-root-user", "--mount", sys.executable, __file__, "--inside", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: `{' '.join(command)}` ends with {done.returncode}")
        return Row(**json.loads(done.stdout.splitlines()[-1]))
    with tempfile.TemporaryDirectory() as inside:
        return ROWS[name](options, Path(inside))


def table(rows: dict[str, dict[str, object]]) -> str:
    """The rows as markdown, in their order."""
    lines = ["| what | tried | held | |", "|---|---:|---:|---|"]
    lines += ["| {what} | {tried:,} | {held:,} | {note} |".format(**rows[name]) for name in ROWS if name in rows]
    return "\n".join(lines)


def write_page(rows: dict[str, dict[str, object]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- table -->\n", "\n<!-- end -->"
    PAGE.write_text(f"{text.partition(begin)[0]}{begin}{table(rows)}{end}{text.partition(end)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--again", action="store_true", help="measure rows that are known already, too")
    parser.add_argument("--step", type=at_least(1), default=1, help="kill at every so-many-th operation")
    parser.add_argument("--files", type=at_least(1), default=3000, help="files of the fuzz")
    parser.add_argument("--gb", type=at_least(0.1), default=3.0, help="size of the big model")
    parser.add_argument("--results", type=target, default=RESULTS, help="another file than the page's")
    parser.add_argument("--inside", choices=MOUNTING, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(asdict(measure(options.inside, options))))
        return
    rows = json.loads(options.results.read_text()) if options.results.exists() else {}
    failed = []
    for name in options.rows:
        if name in rows and not options.again:
            continue
        row = measure(name, options)
        print(f"{name}: {row.held} of {row.tried}: {row.what}", flush=True)
        failed += [name] if row.held < row.tried else []
        rows[name] = asdict(row)
        options.results.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.results == RESULTS:
        write_page(rows)
    if failed:
        raise SystemExit(f"not all held: {', '.join(failed)}")


if __name__ == "__main__":
    main()
