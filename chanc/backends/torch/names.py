"""Names and literals: the only way by which anything of a model's text gets into the emitted source.

Identifiers are rebuilt from `[A-Za-z0-9_]`, strings pass through `repr`, numbers through `repr` of int and float.
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from functools import cache

import numpy as np

# Methods of the containers, and names that the emitted source itself uses.
_CONTAINER = [
    "append",
    "extend",
    "insert",
    "pop",
    "keys",
    "values",
    "items",
    "clear",
    "update",
    "copy",
    "get",
    "setdefault",
]
_SOURCE = ["self", "torch", "nn", "F", "math", "Group", "WIDTHS", "Tensor", "annotations"]
_GENERATED = re.compile(
    r"(val_\d+|onnx::.*|.*[Cc]onst(ant)?s?([_./]?(output)?_?\d+)*|const.*|_inlfunc.*|\d+|node_.*|/.*_output_\d+)"
)
_AFFIX = re.compile(r"(\.w_\d+|\.b_\d+|_weights?(_fused_bn)?|/kernel(:0)?|/bias(:0)?|\.kernel|_kernel|_bias|:0)+$")


@cache
def reserved() -> frozenset[str]:
    """Names that a submodule or parameter may not have: keywords, builtins, attributes of nn.Module and containers."""
    from torch import nn

    module = {*dir(nn.Module), *dir(nn.Module()), *dir(nn.Sequential()), *dir(nn.ModuleDict())}
    return frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *module, *_CONTAINER, *_SOURCE})


def identifier(text: str, fallback: str = "value") -> str:
    """A legal, unreserved, public ASCII identifier that resembles `text`; `fallback` where nothing is left of it."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text[:80]).strip("_")
    if not name:
        name = fallback
    if name[0].isdigit():
        name = f"{fallback}_{name}"
    return f"{name}_" if name in reserved() else name


def component(text: str, fallback: str = "part") -> str:
    """One part of a module path: an identifier, or a number, which names a child of a sequence."""
    if re.fullmatch(r"0|[1-9][0-9]{0,5}", text):
        return text
    return identifier(text, fallback)


def is_generated(name: str) -> bool:
    """Whether an exporter made the name up (`val_3`, `onnx::Conv_12`, `Constant_4`): it says nothing to a reader."""
    return _GENERATED.fullmatch(name) is not None


def stem(name: str) -> str:
    """The layer that a weight's name speaks of: `conv2d_0.w_0` -> `conv2d_0`, `dense/kernel:0` -> `dense`."""
    return _AFFIX.sub("", name) or name


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3`, ... where it is taken; the answer is added to `taken`."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def number(value: object) -> str:
    """The literal of a Python or NumPy number; a float32 is written by its shortest decimal."""
    if isinstance(value, (bool, np.bool_)):
        return repr(bool(value))
    if isinstance(value, (int, np.integer)):
        return repr(int(value))
    if isinstance(value, np.floating) and not isinstance(value, np.float64):
        wide = float(value)
        value = float(str(value)) if math.isfinite(wide) else wide
    if not isinstance(value, float):
        value = float(str(value))  # bfloat16 and its like
    if math.isnan(value):
        return "math.nan"
    if math.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    return repr(float(value))


def float32(value: float) -> float:
    """The shortest decimal of an attribute: ONNX stores float32, so 0.1 comes as 0.10000000149."""
    return float(str(np.float32(value))) if math.isfinite(value) else value


def class_name(file: str) -> str:
    """A class for a file's name: `resnet34-cifar.onnx` -> `Resnet34Cifar`."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in file.split(".")[0]).split()
    return identifier("".join(word[:1].upper() + word[1:] for word in words), "Network")
