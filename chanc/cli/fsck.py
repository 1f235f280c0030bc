"""`chanc fsck`: check what a search, a training or a sweep left on disk, and mend it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chanc.cli.outputs import say

if TYPE_CHECKING:
    from chanc.runs.fsck import Finding


@click.command("fsck")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--mend", "mending", is_flag=True,
              help="Void what is damaged, so that --resume does it again, and remove what is left over.")  # fmt: skip
def command(run: Path, mending: bool) -> None:
    """Check RUN, the directory of a search or of a sweep, or a checkpoint of `chanc train`.

    \b
    Examples:
      chanc fsck runs/r34
      chanc fsck runs/r34 --mend
      chanc fsck r18.safetensors

    Every line of the log and every file is held against its checksum. The exit code is 0 where all is sound, 1 where
    something is damaged. An orphan, a file that no event speaks of, is no damage.
    """
    from chanc.errors import RunError
    from chanc.runs.fsck import check, mend

    before = check(run)
    _tell(before)
    if not mending:
        bad, mendable = _bad(before), [one for one in before if one.mendable]
        if bad:
            able = f"`chanc fsck {shlex.quote(str(run))} --mend` mends {len([one for one in bad if one.mendable])}"
            raise RunError(f"{run}: {len(bad)} damaged; {able} of them")
        if mendable:
            say(f"`chanc fsck {shlex.quote(str(run))} --mend` removes what is left over")
        return
    left = _bad(mend(run))
    say(f"mended: {len([one for one in before if one.mendable])}")
    if left:
        raise RunError(f"{run}: {len(left)} can't be mended: {left[0].what}: {left[0].why}")


def _bad(findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.bad]


def _tell(findings: Sequence[Finding]) -> None:
    """A line for each thing that isn't sound, and how many of what there are."""
    for one in findings:
        if one.state != "ok":
            say(f"{one.state:8}  {one.what}  {one.why}")
    counts = Counter(one.state for one in findings)
    say(", ".join(f"{count} {state}" for state, count in counts.items()))
