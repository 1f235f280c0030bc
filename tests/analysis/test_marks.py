"""Units that are marked, against a dictionary of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis.marks import Marks

MARKED = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9), min_size=10, max_size=10), MARKED)
def test_the_first_mark_of_a_unit_counts(unit: list[int], marked: list[list[int]]) -> None:
    expected: dict[int, str] = {}
    for k, labels in enumerate(marked):
        for label in labels:
            expected.setdefault(unit[label], f"mark {k}")
    found = Marks(np.array(unit), [(np.array(labels), f"mark {k}") for k, labels in enumerate(marked)])
    assert found == expected
    assert found.units.tolist() == sorted(expected)


def test_further_marks_come_after() -> None:
    first = Marks(np.array([0, 0, 2]), [(np.array([1]), "first")])
    assert first.also(np.array([0, 2]), "second") == {0: "first", 2: "second"}
    assert first == {0: "first"}


def test_what_is_not_marked_is_not_found() -> None:
    with pytest.raises(KeyError):
        Marks(np.array([0, 1]), [(np.array([1]), "it")])[0]
