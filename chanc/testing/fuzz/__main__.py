"""The command: a table of what became of the files; it ends with 1 where something is not as it must be."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict

import click

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a process with threads can't be forked

FAILURES = ("exception", "message", "command", "wrong", "hang", "memory", "crash")
KINDS = (*FAILURES, "onnxruntime", "stumble")
"""`onnxruntime`: it ends the process on the file as it is, whoever calls it. `stumble`: what the boundary kept in."""


@click.command()
@click.option("--files", default=200, show_default=True, help="How many files.")
@click.option("--seed", default=0, show_default=True, help="Another seed makes other files.")
@click.option("--start", default=0, show_default=True, help="The number of the first file.")
@click.option("--only", type=int, help="Only the file of this number, with the traceback, in this process.")
@click.option("--save", type=click.Path(), help="With --only: write the file here and do nothing else.")
def main(files: int, seed: int, start: int, only: int | None, save: str | None) -> None:
    """Take mutated models through chanc: every one must end in a ChancError or in a right result."""
    from chanc.testing.fuzz import alone, gate

    if only is not None:
        alone.run(seed, only, save)
        return
    alone.prepare()
    begun, done, refused = time.monotonic(), 0, 0
    found: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    for made, outcome in gate.run(seed, range(start, start + files)):
        done, refused = done + outcome.done, refused + outcome.refused
        if made.number % 100 == 99:
            click.echo(f"{made.number + 1} files", err=True)
        for trouble in (*outcome.troubles, *outcome.stumbles):
            if (trouble.kind, trouble.place) not in found:
                click.echo(
                    f"{made.number}: {trouble.kind}, {trouble.step}: {trouble.place}: {trouble.text!r}", err=True
                )
            found[trouble.kind, trouble.place].append((made.number, trouble.step, trouble.text))
    click.echo(
        f"{files} files of seed {seed} in {time.monotonic() - begun:.0f} s: {done} steps done, {refused} refused"
    )
    for kind in KINDS:
        places = {place: rows for (other, place), rows in found.items() if other == kind}
        numbers = {number for rows in places.values() for number, _, _ in rows}
        click.echo(f"{kind:11} {len(numbers):5} files at {len(places)} places")
        for place, rows in sorted(places.items(), key=lambda entry: -len(entry[1])):
            number, step, text = rows[0]
            click.echo(f"    {len(rows):4}  {place}  ({step}, --only {number}): {text!r}")
    sys.exit(1 if {kind for kind, _ in found} & {*FAILURES} else 0)


main()
