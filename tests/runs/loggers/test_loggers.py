"""What trackers get: every row once, whatever kills the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from chanc.errors import ChancError, MissingDependencyError, RunError
from chanc.runs import Record, RunDir
from chanc.runs.loggers import LOGGERS, expect, following, register
from chanc.runs.loggers.rows import Row, rows, settings


@dataclass
class Memory:
    """A tracker that outlives processes."""

    taken: list[Row] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    fails: bool = False

    @property
    def last(self) -> int:
        return len(self.taken) - 1

    @last.setter
    def last(self, number: int) -> None:
        assert number == self.last

    def log(self, number: int, row: Row) -> None:
        if self.fails:
            raise OSError("the server is away")
        assert number == len(self.taken)
        self.taken.append(row)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def memory() -> Iterator[Memory]:
    kept = Memory()
    with LOGGERS.scratch():

        @register("memory", package="json")
        def remember(record: Record) -> Memory:
            assert record.settings["algo"] == "greedy"
            kept.opened += 1
            return kept

        yield kept


def test_rows_of_events(run: RunDir, go_on: Callable[[], None]) -> None:
    go_on()
    first, second, trial, *others = rows(run.record.log)
    assert first == Row(0, {"epoch/loss": 2.0, "epoch/lr": 0.1})
    assert second == Row(1, {"epoch/loss": 1.0, "epoch/score": 0.5, "epoch/lr": 0.05})
    assert trial == Row(0, {"trial/score": 0.5, "trial/loss": 1.0, "trial/params": 100.0, "trial/macs": 200.0,
                            "widths/conv 1[a]": 8.0})  # fmt: skip
    assert [row.step for row in others] == [2, 3, 1, 2, 1]
    assert others[3].figures == {"trial/failed": 1.0}
    assert others[4].figures["final/found/score"] == 0.875


def test_each_row_once_over_processes(run: RunDir, go_on: Callable[[], None], memory: Memory) -> None:
    with following(["memory"], run.path) as follow:
        assert memory.opened == 0
        follow()
        follow()
        assert len(memory.taken) == 3
    go_on()
    with following(["memory"], run.path) as follow:
        follow()
    assert memory.taken == list(rows(run.record.log))
    assert (memory.opened, memory.closed) == (2, 2)


def test_what_failed_is_sent_later(run: RunDir, go_on: Callable[[], None], memory: Memory) -> None:
    memory.fails = True
    with following(["memory"], run.path) as follow:
        with pytest.raises(RunError, match=r"^memory: OSError: the server is away$"):
            follow()
        memory.fails = False
        go_on()
        follow()
    assert memory.taken == list(rows(run.record.log))
    assert (memory.opened, memory.closed) == (1, 1)


def test_one_that_fails_keeps_no_other_one_from_its_rows(run: RunDir, memory: Memory) -> None:
    @register("broken", package="json")
    def broken(record: Record) -> Memory:
        raise ValueError("no such\nplace")

    with (
        following(["broken", "memory"], run.path) as follow,
        pytest.raises(RunError, match=r"^broken: ValueError: no such$"),
    ):
        follow()
    assert memory.taken == list(rows(run.record.log))


def test_nobody_to_tell(run: RunDir) -> None:
    with following([], run.path / "nowhere"):
        pass


def test_names_and_packages_that_there_are_not() -> None:
    with pytest.raises(ChancError, match=r"no logger 'mlfow' \(did you mean 'mlflow'\?\)"):
        expect(["mlfow"])
    with LOGGERS.scratch():
        register("beyond", package="nothing_of_this_name")(lambda record: Memory())
        with pytest.raises(MissingDependencyError, match="--log beyond needs nothing_of_this_name"):
            expect(["beyond"])


def test_settings_without_depth() -> None:
    assert settings({"a": {"b": {"c": 1}}, "d": [1, 2], "e": None}) == {"a.b.c": "1", "d": "[1, 2]", "e": "None"}
