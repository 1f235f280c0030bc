"""Sizes of axes: integers, and products of integers with named unknowns.

A dynamic batch `N`, an image height `H` and what a graph computes from them (`2*H*W`, `floor(H/2)`) must compare equal
when they are equal by construction, so that a Reshape back to `[N, C, H, W]` is understood. A `Dim` is a monomial:
an integer times a sorted tuple of atoms. What isn't a monomial becomes an atom of its own, named by its expression.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dim:
    """`factor` times the product of `atoms`: an axis size that is not a plain integer."""

    factor: int
    atoms: tuple[str, ...]

    def __str__(self) -> str:
        return "*".join(([str(self.factor)] if self.factor != 1 else []) + list(self.atoms))

    def __mul__(self, other: Size) -> Size:
        return multiply(self, other)

    __rmul__ = __mul__

    def __add__(self, other: Size) -> Size:
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return add(self, multiply(other, -1))

    def __rsub__(self, other: Size) -> Size:
        return add(other, multiply(self, -1))

    def __floordiv__(self, other: Size) -> Size:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return floor_divide(other, self)

    def __mod__(self, other: Size) -> Size:
        exact = divide(self, other)
        return 0 if exact is not None else unknown(f"({self}%{other})")

    def __neg__(self) -> Size:
        return multiply(self, -1)


Size = int | Dim


LONGEST = 96
"""Characters of a name. Sizes computed from sizes, layer after layer, would double theirs at each."""

FRACTION, ANY_SIGN = "~", "±"
"""Marks in the name of what may be no whole number (sizes are rounded from it), and of what may be 0 or less."""


def unknown(name: str) -> Dim:
    """A size of which only the name is known."""
    if len(name) > LONGEST:
        marks = "".join(mark for mark in (FRACTION, ANY_SIGN) if mark in name)
        name = f"{marks}size {hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
    return Dim(1, (name,))


def applied(op: str, *operands: object, whole: bool = True) -> Dim:
    """What an operator makes of operands of which some are unknown; the same of the same operands."""
    name = f"{ANY_SIGN}{op}({','.join(map(str, operands))})"
    return unknown(name.replace(FRACTION, "") if whole else FRACTION + name)


def is_whole(size: Size) -> bool:
    """Whether a size is known to be a whole number."""
    return isinstance(size, int) or not any(FRACTION in atom for atom in size.atoms)


def is_positive(size: Size) -> bool:
    """Whether a size is that of an axis, or computed from such in a way that hardly makes it 0 or less."""
    return size > 0 if isinstance(size, int) else size.factor > 0 and not any(ANY_SIGN in atom for atom in size.atoms)


def make(factor: int, atoms: Iterable[str]) -> Size:
    """The monomial with that factor and those atoms; a plain int where there are none."""
    names = tuple(sorted(atoms))
    return Dim(factor, names) if names and factor else factor


def multiply(a: Size, b: Size) -> Size:
    """a * b."""
    if isinstance(a, int):
        if isinstance(b, int):
            return a * b
        if a == 1:
            return b
    elif b == 1:
        return a
    (fa, aa), (fb, ab) = _parts(a), _parts(b)
    return make(fa * fb, aa + ab)


def product(sizes: Iterable[Size]) -> Size:
    """The product of all sizes; 1 for none."""
    total: Size = 1
    for size in sizes:
        total = multiply(total, size)
    return total


def divide(a: Size, b: Size) -> Size | None:
    """a / b where b divides a exactly, else None."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    (fa, aa), (fb, ab) = _parts(a), _parts(b)
    if not fb or fa % fb:
        return None
    rest = list(aa)
    for atom in ab:
        if atom not in rest:
            return None
        rest.remove(atom)
    return make(fa // fb, rest)


def equated(a: Size, b: Size) -> dict[str, Size]:
    """What an unknown must be for a and b to be equal, by its name; nothing where that is open."""
    if a == b:
        return {}
    (fa, aa), (fb, ab) = _parts(a), _parts(b)
    left, right = list(aa), list(ab)
    for atom in aa:
        if atom in right:
            left.remove(atom)
            right.remove(atom)
    if len(left) == 1 and not right and fa and fb % fa == 0:
        return {left[0]: fb // fa}
    if len(right) == 1 and not left and fb and fa % fb == 0:
        return {right[0]: fa // fb}
    return {left[0]: Dim(1, (right[0],))} if len(left) == len(right) == 1 and fa == fb else {}


def substituted(size: Size, known: Mapping[str, Size]) -> Size:
    """The size with unknowns replaced by what they are."""
    if isinstance(size, int) or known.keys().isdisjoint(size.atoms):
        return size
    return multiply(size.factor, product(known.get(atom, Dim(1, (atom,))) for atom in size.atoms))


def floor_divide(a: Size, b: Size) -> Size:
    """floor(a / b)."""
    exact = divide(a, b)
    if exact is not None:
        return exact
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return unknown(f"floor({a}/{b})")


def add(a: Size, b: Size) -> Size:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    (fa, aa), (fb, ab) = _parts(a), _parts(b)
    if aa == ab:
        return make(fa + fb, aa)
    if fa == 0 or fb == 0:
        return b if fa == 0 else a
    return unknown("(" + "+".join(sorted((str(a), str(b)))) + ")")


def _parts(size: Size) -> tuple[int, tuple[str, ...]]:
    return (size, ()) if isinstance(size, int) else (size.factor, size.atoms)


def window(size: Size, kernel: int, stride: int, dilation: int, pad: int, ceil: bool = False) -> Size:
    """Output size of a convolution or a pooling along one axis (ONNX Conv, MaxPool); `pad` is begin plus end."""
    span = dilation * (kernel - 1) + 1
    if isinstance(size, Dim):
        if (stride == 1 and pad == span - 1) or ceil:
            return size if stride == 1 else unknown(f"window({size},{span},{stride},{pad})")
        # As exporters compute it from the size of an input, so that both compare equal.
        return add(floor_divide(add(size, pad - span), stride), 1)
    room = size + pad - span
    return (-(-room // stride) if ceil else room // stride) + 1
