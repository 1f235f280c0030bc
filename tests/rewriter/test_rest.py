"""Doing the rest: the groups at fault are left alone with their reason, and no other one."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.errors import IllegalMove, VerifyError
from chanc.oracles import TOLERANCE, check_shrink, differences, zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.rest import Fault, Left, do_the_rest
from chanc.rewriter.rules import REGISTRY
from chanc.rewriter.site import Site
from chanc.testing.builders import build

NAMES = "abcdefgh"
TWO = """
a = Conv (x, wa)
s = Reshape (a, shape)
b = Conv (s, wb)
c = Conv (b, wc)
y = Conv (c, wd)
"""
SHAPES = {"wa": (6, 3, 1, 1), "wb": (4, 6, 1, 1), "wc": (8, 4, 1, 1), "wd": (2, 8, 1, 1)}


def attempts(bad: set[frozenset[str]], named: bool, seen: list[Left]):
    """Fails where any of these sets changes as a whole; the failure names it or doesn't."""

    def attempt(left: Left) -> frozenset[str]:
        seen.append(dict(left))
        changing = frozenset(NAMES) - left.keys()
        for fault in bad:
            if fault <= changing:
                raise Fault(VerifyError(f"{sorted(fault)} fail"), fault if named else (), NAMES)
        return changing

    return attempt


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("bad", "most"),
    [([], 0), (["c"], 1), (["a", "h"], 2), (["cd"], 1), (["abc"], 1), (["ab", "c", "fgh"], 3), (["ab", "bc"], 2)],
)
def test_no_more_than_needed_is_left(bad: list[str], most: int, named: bool) -> None:
    seen: list[Left] = []
    attempt = attempts({frozenset(names) for names in bad}, named, seen)
    try:
        changed = attempt({})
    except Fault as fault:
        changed = do_the_rest(attempt, fault)
    assert len(changed) >= len(NAMES) - most
    assert not any(set(names) <= changed for names in bad)


def test_the_reason_is_that_of_the_group_at_fault() -> None:
    seen: list[Left] = []
    attempt = attempts({frozenset("g"), frozenset("b")}, False, seen)
    with pytest.raises(Fault) as failed:
        attempt({})
    do_the_rest(attempt, failed.value)
    assert seen[-1] == {"g": "['g'] fail", "b": "['b'] fail"}


def test_where_nothing_is_left_the_first_failure_is_raised() -> None:
    attempt = attempts({frozenset(name) for name in NAMES}, True, [])
    with pytest.raises(Fault) as failed:
        attempt({})
    with pytest.raises(VerifyError) as raised:
        do_the_rest(attempt, failed.value)
    assert raised.value is failed.value.error


@pytest.fixture
def model():
    return build("float[2,3,4,4] x", "float y", TWO, {**SHAPES, "shape": np.array([2, 6, 4, 4])})


def stuck(site: Site) -> None:
    raise IllegalMove("it can't follow")


def broken(site: Site) -> None:
    raise KeyError("lost")


def silent(site: Site) -> None:
    """Forgets to follow: the second analysis sees it."""


@pytest.mark.parametrize(
    ("rule", "reason"),
    [(stuck, "it can't follow"), (broken, "Reshape 's' can't follow: KeyError"), (silent, "after the rewrite")],
)
def test_a_node_that_can_not_follow(model, monkeypatch: pytest.MonkeyPatch, rule, reason: str) -> None:
    find = REGISTRY.find
    monkeypatch.setattr(REGISTRY, "find", lambda d, name, since: rule if name == "Reshape" else find(d, name, since))
    done = rewrite(model, scale=0.5)
    assert list(done.trace.left) == ["wa"]
    assert reason in done.trace.left["wa"]
    assert done.trace.groups == {"wa": (6, 6), "wb": (4, 2), "wc": (8, 4)}
    assert done.trace.to_json()["verdicts"]["wa"]["verdict"] == "left"
    assert done.trace.verdicts["wb"].changed
    assert max(found.error for found in differences(zeroed(model, done.trace), done.model)) < TOLERANCE
    with pytest.raises(AssertionError, match="groups are left alone"):
        check_shrink(model)


def test_groups_that_are_to_be_left(model) -> None:
    done = rewrite(model, scale=0.5, leave={"wb": "the user wants it so"})
    assert done.trace.left == {"wb": "the user wants it so"}
    assert done.trace.groups == {"wa": (6, 3), "wb": (4, 4), "wc": (8, 4)}


def test_operands_name_their_groups(model) -> None:
    found = {(o.node, o.input): o.groups for o in rewrite(model, scale=0.5).trace.operands}
    assert found == {("a", 1): {0: ("wa",)}, ("b", 1): {0: ("wb",), 1: ("wa",)}, ("c", 1): {0: ("wc",), 1: ("wb",)},
                     ("y", 1): {1: ("wc",)}}  # fmt: skip


def test_what_fails_with_nothing_to_change_is_told_as_it_is() -> None:
    error = VerifyError("the model itself")
    with pytest.raises(VerifyError) as caught:
        do_the_rest(lambda left: None, Fault(error, [], []))
    assert caught.value is error
