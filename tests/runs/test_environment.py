from __future__ import annotations

import os
from pathlib import Path

import pytest

from chanc import runs
from chanc.runs import read_run
from chanc.runs.cautions import cautions
from chanc.runs.environment import GIVEN, changes, in_words, threads_as_begun

BEGUN = {
    "threads": 2,
    "simd": "AVX512",
    "versions": {"torch": "2.13", "numpy": "2.4"},
    "blas": {"numpy": "openblas 0.3.31 SkylakeX, 2 threads"},
    "command": ["chanc"],
    "platform": "here",
}
HASWELL = {"numpy": "openblas 0.3.31 Haswell, 1 threads"}
ELSEWHERE = {**BEGUN, "threads": 1, "blas": HASWELL, "command": [], "platform": ""}


def test_only_what_results_hang_on_is_compared() -> None:
    assert changes(BEGUN, {**BEGUN, "command": [], "platform": "there"}) == {}
    assert changes(BEGUN, ELSEWHERE) == {
        "threads": [2, 1], "blas.numpy": ["openblas 0.3.31 SkylakeX, 2 threads", "openblas 0.3.31 Haswell, 1 threads"],
    }  # fmt: skip
    assert changes(BEGUN, {**BEGUN, "versions": {"torch": "2.13"}}) == {"versions.numpy": ["2.4", None]}


def test_one_line_says_what_differs() -> None:
    assert in_words({}) == ""
    assert in_words({"threads": [2, 1], "simd": ["AVX512", None]}) == (
        "the run was begun with another environment: threads was 2, now 1; simd was AVX512, now not there: the last "
        "bits of results may differ"
    )


def test_a_run_keeps_where_it_was_gone_on_with(tmp_path: Path) -> None:
    runs.create(tmp_path, {}, BEGUN)
    runs.resume(tmp_path, {}, environment=BEGUN)
    assert read_run(tmp_path).environment == BEGUN
    for _ in range(2):
        runs.resume(tmp_path, {}, environment=ELSEWHERE)
    record = read_run(tmp_path)
    assert record.environment == {**BEGUN, "resumed": [{"at": 0, "differs": changes(BEGUN, ELSEWHERE)}]}
    assert cautions(record) == [in_words(changes(BEGUN, ELSEWHERE))]
    runs.resume(tmp_path, {}, environment=BEGUN)
    resumed = read_run(tmp_path).environment["resumed"]
    assert isinstance(resumed, list)
    assert resumed[1:] == [{"at": 0, "differs": {}}]


def threads(folder: Path) -> int:
    import torch

    with threads_as_begun(folder):
        return torch.get_num_threads()


def test_threads_are_those_of_the_record_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    runs.create(tmp_path, {}, {"threads": 3})
    before = torch.get_num_threads()
    assert threads(tmp_path) == 3
    assert torch.get_num_threads() == before
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert threads(tmp_path) == before
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads(tmp_path) == before
