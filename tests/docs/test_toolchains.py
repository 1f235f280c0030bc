"""docs/toolchains.md: its tracker tracks, its keys are those of the metadata, its scripts are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from chanc.rewriter import provenance
from chanc.runs import Decision, TrialEvent, create
from chanc.runs.loggers import LOGGERS, following

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "toolchains.md").read_text()


def test_the_tracker_goes_on_where_it_was(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n# my_tracker.py\n(.*?)```", TEXT, re.DOTALL)
    run = create(tmp_path / "run", {}, {})
    with LOGGERS.scratch():
        made: dict[str, Any] = {"__name__": "my_tracker"}
        exec(source, made)
        for number in range(2):
            run.append(TrialEvent(number, Decision({"w": 8}), 1, 2, 0.5, 1.0))
            with following(["lines"], run.path) as follow:
                follow()
    first, second = (run.path / "lines.txt").read_text().splitlines()
    assert first.startswith("0 {'trial/score': 0.5")
    assert second.startswith("1 {")


def test_keys_and_scripts() -> None:
    keys = set(re.findall(r"`(chanc\.(?:version|plan|source\.sha256|trace\.sha256))` \|", TEXT))
    assert keys == {provenance.VERSION, provenance.SOURCE, provenance.PLAN, provenance.TRACE}
    there = {path.name for path in (ROOT / "examples" / "toolchains").glob("*.py")} - {"network.py"}
    assert set(re.findall(r"`(\w+\.py)`", TEXT)) == there
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists()
