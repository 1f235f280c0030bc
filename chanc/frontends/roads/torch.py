"""`torch:PACKAGE.MODULE:FACTORY`: a module that a function makes, or one that stands there ready; `torch:FILE.pt2`.

A program of torch.export, in a file or made by a factory, is a module as well. It stays in the mode that it was
exported in, and takes the batches that it was exported for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.errors import ChancError
from chanc.files import open_regular
from chanc.frontends.factories import made
from chanc.frontends.spec import FRONTENDS, Frontend

if TYPE_CHECKING:
    from torch import nn


def _module(target: str, options: dict[str, Any]) -> nn.Module:
    from torch import nn
    from torch.export import ExportedProgram

    kinds = (nn.Module, ExportedProgram)
    found = _read(target) if target.endswith(".pt2") else made("torch", target, options, kinds, "a torch.nn.Module")
    module: nn.Module = _of_program(found) if isinstance(found, ExportedProgram) else found
    return module


def _read(path: str) -> Any:
    import torch

    open_regular(path).close()
    try:
        return torch.export.load(path)
    except Exception as error:  # torch raises what comes
        raise ChancError(f"{path} is no file of torch.export.save: {plugins.told(error)}") from error


def _of_program(program: Any) -> nn.Module:
    """Its module, which else refuses to be told the mode that it is in."""
    module: Any = program.module()
    module.train = lambda mode=True: module
    module.eval = lambda: module
    found: nn.Module = module
    return found


FRONTENDS.add("torch", Frontend(_module, "torch:PACKAGE.MODULE:FACTORY"), help="A function that makes a module.")
