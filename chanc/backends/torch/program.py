"""What the rules write: statements over numbered values, and submodules with their tensors' bindings.

Text carries tokens for names that are not chosen yet: `\\0v7\\0` is value 7, `\\0m3\\0` submodule or parameter 3. A
literal of the model can't hold a token, since `repr` escapes the zero byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", "np.ndarray", "Tensor")
TOKEN = re.compile(r"\x00([vmw])(\d+)\x00")


def value_token(vid: int) -> str:
    """The token of value `vid`."""
    return f"\0v{vid}\0"


def module_token(mid: int) -> str:
    """The token of submodule `mid`."""
    return f"\0m{mid}\0"


def tokens(text: str, kind: str) -> list[int]:
    """The numbers of the tokens of one kind in `text`, in order, with repeats."""
    return [int(number) for found, number in TOKEN.findall(text) if found == kind]


@dataclass(frozen=True)
class Binding:
    """Where a state_dict entry comes from, and how to get from the initializer to the tensor and back.

    The tensor is `initializer[part][rows]`, transposed where `transpose` is set, in `shape` where it is given.
    """

    initializer: str
    uses: tuple[tuple[str, int], ...] = ()
    """(first output name of the node, input index) of every use that this entry serves."""
    part: int | None = None
    rows: tuple[int, ...] | None = None
    transpose: bool = False
    shape: tuple[int, ...] | None = None
    tied: str = ""
    """The state_dict key of the entry that is the same parameter: a matrix that two submodules use."""
    constant: bool = False
    """A value that the emitter computed itself: it has no initializer and is never written back."""

    def to_tensor(self, array: np.ndarray) -> np.ndarray:
        """The state_dict entry's value, from the whole initializer."""
        if self.part is not None:
            array = array[self.part]
        if self.rows is not None:
            array = array[list(self.rows)]
        if self.transpose:
            array = array.T
        return array if self.shape is None else array.reshape(self.shape)

    def to_initializer(self, tensor: Array, whole: Array) -> Array:
        """`whole`, a writable array of the initializer's shape, with this entry's part replaced by `tensor`."""
        region = whole if self.part is None else whole[self.part]
        rows = slice(None) if self.rows is None else list(self.rows)
        if region.ndim == 0:
            region[...] = tensor.reshape(())
            return whole
        target = region[rows].T if self.transpose else region[rows]
        value = tensor.reshape(target.shape)
        region[rows] = value.T if self.transpose else value
        return whole


@dataclass
class Statement:
    """`targets = text`; `compound` text needs parentheses inside another expression."""

    targets: list[int]
    text: str
    compound: bool = False
    inline: bool = True
    """Whether the text may be written into its only use."""

    @property
    def reads(self) -> list[int]:
        """The values in the text."""
        return tokens(self.text, "v")

    @property
    def calls(self) -> list[int]:
        """The submodules and parameters in the text."""
        return tokens(self.text, "m")


@dataclass
class Submodule:
    """A submodule (`cls` is `nn.Conv2d`, tensors `weight`, `bias`); with one tensor "" a bare parameter or buffer."""

    mid: int
    path: tuple[str, ...]
    cls: str
    args: list[str]
    tensors: dict[str, Binding] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)
    """Position in `args` -> the value whose channels the argument counts."""
    comment: str = ""

    @property
    def text(self) -> str:
        """The constructor call."""
        return f"{self.cls}({', '.join(self.args)})"

    def keys(self) -> dict[str, Binding]:
        """state_dict key -> binding."""
        prefix = ".".join(self.path)
        return {f"{prefix}.{name}" if name else prefix: binding for name, binding in self.tensors.items()}


@dataclass
class Program:
    """A whole network, ready to be rendered."""

    name: str
    statements: list[Statement]
    submodules: dict[int, Submodule]
    inputs: list[tuple[int, str]]
    """(value, name in forward)."""
    outputs: list[str]
    """Expressions of the returned values."""
    shapes: dict[int, str]
    """Value -> its shape as a comment, `[n, 64, 8, 8]`."""
    hints: dict[int, str]
    """Value -> a name for it that says more than x."""
    helpers: set[str]
    constants: dict[str, np.ndarray]
    """state_dict key -> value, for entries without an initializer."""
    channels: dict[int, int]
    """Value -> the number of its channel group (values of one group have the same width)."""
    escaped: set[int] = field(default_factory=set)
    """Groups whose width something else than a constructor's argument depends on."""
    flattened: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Group behind a Flatten -> (the group before it, how many columns each channel becomes)."""
    pixels: str = ""
    """How the input is made of pixels, where the model's metadata says so."""
    ends: list[str] = field(default_factory=list)
    """Names of what is returned, where the graph goes on."""
