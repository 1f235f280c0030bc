"""Every damaged or odd data set of the table is read to the value, or refused in one line that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("pyarrow")

from chanc.testing.datasets import Case, all_cases, cases
from chanc.testing.datasets.making import GREY, arrays


@pytest.mark.timeout(120)
def test_every_case(tmp_path: Path) -> None:
    wrong = {name: said for name, right, said in cases(tmp_path) if not right}
    assert wrong == {}


def test_the_table_is_long_and_names_each_case_once() -> None:
    names = [case.name for case in all_cases()]
    assert len(names) == len(set(names)) >= 150


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (Case("", arrays, GREY[None, None]), ""),
        (Case("", arrays, GREY[None, None] + 1), "other pixels"),
        (Case("", arrays, GREY[None, None], "a note"), "does not say 'a note'"),
        (Case("", arrays, says="damaged"), "accepted"),
        (Case("", lambda root: arrays(root, y_train=np.array([-1, 0, 1])), GREY[None, None]), "refused"),
        (Case("", lambda root: arrays(root, y_train=np.array([-1, 0, 1])), says="beyond"), "does not say 'beyond'"),
    ],
)
def test_a_case_can_go_wrong(case: Case, problem: str, tmp_path: Path) -> None:
    found, _ = case.wrong(tmp_path)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)
