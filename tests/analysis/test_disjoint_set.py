from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis.disjoint_set import DisjointSet

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40)


def slow_roots(size: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """The smallest member of each set, by going over all pairs until nothing changes."""
    root = list(range(size))
    changed = True
    while changed:
        changed = False
        for a, b in pairs:
            low = min(root[a], root[b])
            changed |= root[a] != low or root[b] != low
            root[a] = root[b] = low
    return np.array(root)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PAIRS)
def test_roots_are_the_smallest_members(pairs: list[tuple[int, int]]) -> None:
    sets = DisjointSet()
    for a, b in pairs:
        sets.unite(np.array([a]), np.array([b]))
    np.testing.assert_array_equal(sets.roots(20), slow_roots(20, pairs))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PAIRS, PAIRS)
def test_two_steps_are_one(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    """Roots that are known already, and more pairs on top of them."""
    one, two = DisjointSet(), DisjointSet()
    for sets, pairs in ((one, first), (two, second)):
        for a, b in pairs:
            sets.unite(np.array([a]), np.array([b]))
    start = one.roots(20)
    np.testing.assert_array_equal(two.roots(20, start), slow_roots(20, first + second))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2)), max_size=16), st.booleans())
def test_whole_lines_are_united_as_their_members_are(pairs: list[tuple[int, int, int]], known: bool) -> None:
    """Lines of 3 as they were made, beside single members of them; `known`: on top of roots that are known."""
    sets, edges = DisjointSet(), [(0, 19), (7, 2)] if known else []
    lines = [sets.line(3 * k, 3) for k in range(7)]
    for a, b, what in pairs:
        if what:
            sets.unite(lines[a], lines[b])
            edges += [(3 * a + k, 3 * b + k) for k in range(3)]
        else:
            sets.unite(lines[a][:1], lines[b][1:2])
            edges.append((3 * a, 3 * b + 1))
    start = slow_roots(21, edges[:2]) if known else None
    np.testing.assert_array_equal(sets.roots(21, start), slow_roots(21, edges))


def test_arrays_broadcast() -> None:
    sets = DisjointSet()
    sets.unite(np.arange(6).reshape(2, 3), np.array([[0], [3]]))
    np.testing.assert_array_equal(sets.roots(7), [0, 0, 0, 3, 3, 3, 6])


def test_a_long_chain_in_any_order() -> None:
    size = 20_000
    order = np.random.default_rng(0).permutation(size - 1)
    sets = DisjointSet()
    sets.unite(order, order + 1)
    assert not sets.roots(size).any()


def test_many_onto_one_member() -> None:
    sets = DisjointSet()
    sets.unite(np.arange(10)[:, None], np.full(1, 30))
    np.testing.assert_array_equal(sets.roots(31), [*[0] * 10, *range(10, 30), 0])


def test_nothing_united() -> None:
    np.testing.assert_array_equal(DisjointSet().roots(3), [0, 1, 2])
    assert DisjointSet().roots(0).size == 0


def test_the_start_is_not_changed() -> None:
    sets = DisjointSet()
    sets.unite(np.array([0]), np.array([2]))
    start = np.arange(3)
    sets.roots(3, start)
    np.testing.assert_array_equal(start, [0, 1, 2])
