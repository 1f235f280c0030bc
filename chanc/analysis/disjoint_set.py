"""Union-find over whole arrays at once.

Edges are collected while the graph is read and solved in one go, so that a union of two channel axes costs two
appends. Most unite two whole lines, as they were made: those are united by their first members alone. The solver of the
others hooks larger roots onto smaller ones and jumps pointers (Shiloach and Vishkin, 1982): a few passes of numpy
instead of a Python loop over every channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
NONE: IntArray = np.empty(0, dtype=np.int64)
FEW = 1 << 13
"""Members that are counted ahead at least: lines are parts of one array, which is cheaper than arrays of their own."""


class DisjointSet:
    """Sets of the integers 0 .. size-1, united pair by pair and solved when they are asked for."""

    def __init__(self) -> None:
        self._left: list[IntArray] = []
        self._right: list[IntArray] = []
        # By identity; the arrays are held, so that no other one gets the same.
        self._lines: dict[int, IntArray] = {}
        self._united: dict[int, tuple[int, int]] = {}
        self._numbers: IntArray = NONE

    def line(self, start: int, size: int) -> IntArray:
        """The members from `start` on as one line: [size]."""
        end = start + size
        if end > self._numbers.size:
            self._numbers = np.arange(max(FEW, 2 * end), dtype=np.int64)
        made = self._numbers[start:end]
        self._lines[id(made)] = made
        return made

    def unite(self, left: IntArray, right: IntArray) -> None:
        """Note that `left[i]` and `right[i]` belong together; the arrays broadcast against each other."""
        if left is right:
            return
        if left.shape != right.shape:
            shape = np.broadcast(left, right).shape
            left, right = _filled(shape, left), _filled(shape, right)
        elif id(left) in self._lines and id(right) in self._lines and left.size:
            self._unite_lines(left.item(0), right.item(0), left.size)
            return
        self._left.append(left.ravel())
        self._right.append(right.ravel())

    def _unite_lines(self, left: int, right: int, size: int) -> None:
        """Hook the later one of two lines of one size onto the earlier one."""
        low, high = self._first(left), self._first(right)
        if low != high:
            self._united[max(low, high)] = min(low, high), size

    def _first(self, start: int) -> int:
        """The first line of a line's set; the way to it is halved."""
        united = self._united
        while start in united:
            up, size = united[start]
            if up in united:
                united[start] = united[up][0], size
            start = up
        return start

    def roots(self, size: int, start: IntArray | None = None) -> IntArray:
        """The smallest member of each element's set: [size]; `start` holds roots that are known already."""
        left, right = list(self._left), list(self._right)
        if start is not None and not left and not self._united:
            return start
        parent = np.arange(size, dtype=np.int64) if start is None else start.copy()
        for line, (_, length) in self._united.items():
            first = self._first(line)
            if start is None:
                parent[line : line + length] = parent[first : first + length]
            else:
                left.append(np.arange(line, line + length))
                right.append(np.arange(first, first + length))
        if left:
            _hook(parent, _joined(left), _joined(right))
        return parent


def _filled(shape: tuple[int, ...], array: IntArray) -> IntArray:
    """An array that is broadcast to a shape."""
    if array.shape == shape:
        return array
    full = np.empty(shape, dtype=np.int64)
    full[...] = array
    return full


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate(arrays)


def _hook(parent: IntArray, left: IntArray, right: IntArray) -> None:
    """Unite every pair of (left, right) in `parent`, in place, until each element points at its set's smallest."""
    a, b = parent[left], parent[right]
    while (differ := a != b).any():
        a, b = a[differ], b[differ]
        high, low = np.maximum(a, b), np.minimum(a, b)
        parent[high] = low
        if (parent[high] != low).any():  # several onto one, which an assignment alone doesn't order
            np.minimum.at(parent, high, low)
        a, b = _ends(parent, a), _ends(parent, b)
    parent[:] = _ends(parent, parent)


def _ends(parent: IntArray, members: IntArray) -> IntArray:
    """Where the pointers lead from these members."""
    while True:
        further = parent[members]
        if np.array_equal(further, members):
            return members
        members = further
