"""Options as fields of dataclasses: what is said once is found by all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from chanc import fields
from chanc.fields import UNBOUNDED
from chanc.study.methods.registry import METHODS
from chanc.tasks import TASKS
from chanc.training.options import TrainOptions


@dataclass(frozen=True)
class Base:
    fixed: ClassVar[int] = 3
    size: int = field(default=4, metadata={"help": "Its size.", "range": (1, math.inf), "count": True})
    kind: Literal["a", "b"] = "a"
    share: float | None = field(default=None, metadata={"range": (0, 1), "default": "all"})
    on: bool = field(default=True, metadata={"flag": "enabled"})
    device: str = field(default="cpu", metadata={"choices": ("cpu", "gpu")})
    table: Mapping[str, int] = field(default_factory=dict)
    free: float = 1.0
    either: int | str = 3


@dataclass(frozen=True)
class Child(Base):
    size: int = 8
    share: float | None = field(default=None, metadata={"help": "Its share."})


def test_the_facts_of_each_field() -> None:
    found = fields.options(Base)
    assert list(found) == ["size", "kind", "share", "on", "device", "table", "free", "either"]
    assert (found["size"].kind, found["size"].default, found["size"].help) == (int, 4, "Its size.")
    assert (found["size"].range, found["size"].count) == ((1, math.inf), True)
    assert (found["kind"].kind, found["kind"].choices) == (str, ("a", "b"))
    assert (found["share"].kind, found["share"].shown) == (float, "all")
    assert (found["on"].kind, found["on"].flag) == (bool, "enabled")
    assert found["device"].choices == ("cpu", "gpu")
    assert (found["free"].kind, found["free"].range) == (float, UNBOUNDED)
    assert found["table"].kind is None
    assert found["either"].kind is None


def test_another_default_inherits_the_rest() -> None:
    found = fields.options(Child)
    assert (found["size"].default, found["size"].help, found["size"].range) == (8, "Its size.", (1, math.inf))
    assert (found["share"].help, found["share"].range) == ("Its share.", UNBOUNDED)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"size": 0}, "size 0 lies outside 1..inf"),
        ({"share": 1.5}, "share 1.5 lies outside 0..1"),
        ({"share": math.nan}, "share nan lies outside 0..1"),
        ({"kind": "c"}, "kind 'c' is unknown: one of a, b"),
        ({"device": "tpu", "share": 2}, "share 2 lies outside 0..1"),
        ({"device": "tpu"}, "device 'tpu' is unknown: one of cpu, gpu"),
        ({"share": None, "free": -1e9}, ""),
    ],
)
def test_the_first_fault(changes: dict[str, object], wrong: str) -> None:
    assert fields.fault(Base(**changes)) == wrong


@pytest.mark.parametrize("cls", [TrainOptions, *METHODS.values(), *TASKS.values()], ids=lambda cls: cls.__name__)
def test_every_option_of_chanc_has_a_help_and_a_kind(cls: type) -> None:
    for option in fields.options(cls).values():
        assert option.kind is not None, option.name
        assert option.help.endswith(".") or option.name == "seed", option.name
        assert option.fault(option.default) == ""
