"""Integer arithmetic of shape chains at emission time: NumPy object arrays whose entries are numbers or `Sym`.

`Shape -> Gather -> Mul -> Concat -> Reshape` then becomes `x.reshape(n, 2 * c, h, w)` without any folding before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_ATOM = re.compile(r"\x00v\d+\x00|[\w.]+|[\w.]+\([^()]*\)")


@dataclass(frozen=True, eq=False)
class Sym:
    """A Python expression, known only when the network runs."""

    text: str

    @property
    def inner(self) -> str:
        """The expression, in parentheses where it is not an atom."""
        return self.text if _ATOM.fullmatch(self.text) else f"({self.text})"

    def _binary(self, sign: str, other: Any, swapped: bool = False) -> Sym:
        left, right = inner(self), inner(other)
        return Sym(f"{right} {sign} {left}" if swapped else f"{left} {sign} {right}")

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0) else self._binary("+", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self if _is(other, 0) else self._binary("-", other)

    def __rsub__(self, other: Any) -> Any:
        return self._binary("-", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self if _is(other, 1) else self._binary("*", other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return Sym(f"-{self.inner}")


def _is(value: Any, number: int) -> bool:
    return not isinstance(value, Sym) and bool(value == number)


def inner(value: Any) -> str:
    """The text of an entry, safe as an operand."""
    return value.inner if isinstance(value, Sym) else text(value)


def text(value: Any) -> str:
    """The text of an entry."""
    from chanc.backends.torch.names import number

    return value.text if isinstance(value, Sym) else number(value)


def concrete(array: np.ndarray) -> bool:
    """Whether no entry waits for the run."""
    return not any(isinstance(entry, Sym) for entry in array.flat)


def _div(a: Any, b: Any) -> Any:
    if isinstance(a, Sym) or isinstance(b, Sym):
        return a if _is(b, 1) else Sym(f"{inner(a)} // {inner(b)}")
    return math.trunc(a / b)


def _compare(sign: str) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        if isinstance(a, Sym) or isinstance(b, Sym):
            return Sym(f"{inner(a)} {sign} {inner(b)}")
        return {"==": a == b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[sign]

    return compare


def _call(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if any(isinstance(arg, Sym) for arg in args):
            return Sym(f"{name}({', '.join(text(arg) for arg in args)})")
        return plain(*args)

    return call


def _mod(a: Any, b: Any) -> Any:
    return Sym(f"{inner(a)} % {inner(b)}") if isinstance(a, Sym) or isinstance(b, Sym) else a % b


def _where(condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, Sym):
        return Sym(f"{inner(a)} if {condition.text} else {inner(b)}")
    return a if condition else b


def _not(a: Any) -> Any:
    return Sym(f"not {a.inner}") if isinstance(a, Sym) else not a


# Elementwise operators on integer entries; division of sizes never meets a negative number.
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Neg": lambda a: -a,
    "Div": _div,
    "Mod": _mod,
    "Equal": _compare("=="),
    "Less": _compare("<"),
    "Greater": _compare(">"),
    "LessOrEqual": _compare("<="),
    "GreaterOrEqual": _compare(">="),
    "Min": _call("min", min),
    "Max": _call("max", max),
    "Floor": _call("math.floor", math.floor),
    "Ceil": _call("math.ceil", math.ceil),
    "Abs": _call("abs", abs),
    "Where": _where,
    "Not": _not,
}


def elementwise(op: str, *arrays: np.ndarray) -> np.ndarray:
    """Run an operator of `ELEMENTWISE` over broadcast object arrays."""
    result = np.frompyfunc(ELEMENTWISE[op], len(arrays), 1)(*arrays)
    return as_objects(result)


def as_objects(value: Any) -> np.ndarray:
    """An object array of Python scalars; a 0-d result of NumPy arrives here as its bare entry."""
    if isinstance(value, Sym):
        out = np.empty((), dtype=object)
        out[()] = value
        return out
    if isinstance(value, list) and any(isinstance(entry, Sym) for entry in value):
        listed = np.empty(len(value), dtype=object)
        listed[:] = value
        return listed
    array = np.asarray(value)
    if array.dtype == object:
        return array
    out = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        out[index] = array[index].item()
    return out
