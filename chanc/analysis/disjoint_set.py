"""Union-find over whole arrays at once.

Edges are collected while the graph is read and solved in one go, so that a union of two channel axes costs two
appends. The solver hooks larger roots onto smaller ones and jumps pointers (Shiloach and Vishkin, 1982): a few
passes of numpy instead of a Python loop over every channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class DisjointSet:
    """Sets of the integers 0 .. size-1, united pair by pair and solved when they are asked for."""

    def __init__(self) -> None:
        self._left: list[IntArray] = []
        self._right: list[IntArray] = []

    def unite(self, left: IntArray, right: IntArray) -> None:
        """Note that `left[i]` and `right[i]` belong together; the arrays broadcast against each other."""
        if left.shape != right.shape:
            left, right = np.broadcast_arrays(left, right)
        self._left.append(left.ravel())
        self._right.append(right.ravel())

    def roots(self, size: int, start: IntArray | None = None) -> IntArray:
        """The smallest member of each element's set: [size]; `start` holds roots that are known already."""
        if start is not None and not self._left:
            return start
        parent = np.arange(size, dtype=np.int64) if start is None else start.copy()
        if self._left:
            _hook(parent, _joined(self._left), _joined(self._right))
        return parent


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate(arrays)


def _hook(parent: IntArray, left: IntArray, right: IntArray) -> None:
    """Unite every pair of (left, right) in `parent`, in place, until each element points at its set's smallest."""
    while True:
        a, b = parent[left], parent[right]
        differ = a != b
        if not differ.any():
            return
        left, right, a, b = left[differ], right[differ], a[differ], b[differ]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:
            grand = parent[parent]
            if np.array_equal(grand, parent):
                break
            parent[:] = grand
