from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chanc.errors import ChancError
from chanc.runs import read_run
from chanc.runs.fsck import check, mend
from chanc.testing import toy
from chanc.testing.damages import DAMAGES, Damage
from chanc.testing.kills import contents


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("calm") / "run"
    toy.search(place)
    return place


def test_there_are_many_and_no_two_have_one_name() -> None:
    assert len({damage.name for damage in DAMAGES}) == len(DAMAGES) > 37


def results(place: Path) -> dict[str, bytes]:
    """What comes out of a run, but for its history."""
    but = {"events.jsonl", "timing.jsonl"}
    return {name: data for name, data in contents(place).items() if name not in but}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "-"))
def test_a_damage_is_one_line_and_mended(tmp_path: Path, calm: Path, damage: Damage) -> None:
    place = tmp_path / "run"
    shutil.copytree(calm, place)
    damage.do(place)
    if not damage.harmless:
        with pytest.raises(ChancError) as caught:
            toy.search(place)
        assert "\n" not in str(caught.value)
        assert str(place) in str(caught.value)
        assert [one for one in check(place) if one.bad] or not (place / "config.json").exists()
        left = [one for one in mend(place) if one.bad]
        assert bool(left) != damage.mends
        if left:
            return
    toy.search(place)
    assert results(place) == results(calm)
    whole, now = read_run(calm), read_run(place)
    assert (now.outcomes, sorted(map(repr, now.finals))) == (whole.outcomes, sorted(map(repr, whole.finals)))
    assert not [one for one in check(place) if one.bad]
