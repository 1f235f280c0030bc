"""From one word to a frontend: `zoo:NAME`, `torch:PACKAGE.MODULE:FACTORY`, `keras:FILE.keras`, ...

Some make a module, of which torch writes ONNX; others write ONNX themselves (`chanc.frontends.foreign`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.errors import ChancError
from chanc.frontends.foreign import Foreign
from chanc.registry import Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Frontend:
    """A road to a module, known by the word before a spec's first colon.

    open: makes the module, from what stands behind that colon and keyword options. form: how a spec is written. images:
    its networks take images [1, channels, size, size]; else the shapes of the inputs have to be given.
    """

    open: Callable[[str, dict[str, Any]], nn.Module]
    form: str
    images: bool = False


FRONTENDS: Registry[Frontend | Foreign] = Registry("frontend", "chanc.frontends", "chanc.frontends.roads")


def frontend_of(spec: str) -> tuple[Frontend | Foreign, str]:
    """The frontend of a spec, and what it is asked for. Raises ChancError for a spec that belongs to none."""
    kind, _, rest = spec.partition(":")
    if kind not in FRONTENDS or not rest:
        raise ChancError(f"{spec!r} is not a network: give {' or '.join(one.form for one in FRONTENDS.values())}")
    return FRONTENDS[kind], rest


def open_spec(spec: str, *, seed: int | None = None, **options: Any) -> nn.Module:
    """Make the module that `spec` names.

    `zoo:NAME` is a network of the zoo; `options` are those of `chanc.frontends.zoo.build`.
    `torch:PACKAGE.MODULE:FACTORY` imports a module, the working directory first on the path, and calls
    `FACTORY(**options)`; an `nn.Module` that stands there ready is taken as it is. With a `seed` the weights are drawn
    from it and torch's global random state stays as it was.

    Raises ChancError, with what there is instead, for a spec, network, module or factory that is not there, and for a
    factory that fails or makes something else than a module.
    """
    frontend, rest = frontend_of(spec)
    if isinstance(frontend, Foreign):
        raise ChancError(f"{spec} is no module of PyTorch: chanc.export writes it as ONNX")
    torch = plugins.require("torch", "making a network", "torch")
    with torch.random.fork_rng() if seed is not None else contextlib.nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        with plugins.guarded(f"making {spec}"):
            module: nn.Module = frontend.open(rest, options)
    return module
