"""Reference networks in plain torch, every one built from one table of widths.

`build("resnet34")` is the published baseline for 32x32 images; `width=16` sets every independent width to 16,
`scale=1.5` scales all of them, and `widths={"stream1": 24, ...}` sets single ones, so that a network found by a search
can be built again. `table(name)` lists the independent widths of a network with their published values. Some have forms
(`chanc.frontends.zoo.forms`): `cnas:cells=3,f=8` is a small one of `cnas`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.errors import ChancError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "names", "params", "scaled", "table"]

WIDEST = 256
"""The largest width of compound scaling, in channels."""

# network: the module of its family, which has table(name, aux=...) and build(name, widths, ...)
_FAMILIES = {
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet18-imagenet": "resnet",
    "resnet34-imagenet": "resnet",
    "resnet50-imagenet": "resnet",
    "darts7": "darts",
    "darts14": "darts",
    "darts20": "darts",
    "dartsplus7": "darts",
    "dartsplus14": "darts",
    "dartsplus20": "darts",
    "flexcharts20": "flexcharts",
    "vgg11": "vgg",
    "vgg16": "vgg",
    "mobilenetv2": "mobilenetv2",
    "mobilenetv2-imagenet": "mobilenetv2",
    "densenet-bc": "densenet",
    "cnas": "cnas",
    "cnas-densenet": "densenet",
    "wrn22": "wideresnet",
    "wrn22-1": "wideresnet",
    "wrn22-2": "wideresnet",
    "wrn22-4": "wideresnet",
    "mobilenetv3-large": "mobilenetv3",
    "efficientnet-b0": "efficientnet",
    "shufflenetv2": "shufflenetv2",
    "googlenet": "googlenet",
}


def names() -> list[str]:
    """The networks that `build` knows, in the order of the listing."""
    return list(_FAMILIES)


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """The independent widths (channels) of a network, by name, at their published values.

    Raises ChancError for a name that the zoo does not have.
    """
    widths: dict[str, int] = _family(name, aux).table(name, aux=aux)
    return widths


def scaled(name: str, factor: float, *, aux: bool = False) -> dict[str, int]:
    """The widths of CONet's compound scaling (Hosseini et al. 2021): n' = min(256, 2 round(n factor / 2)), from 2 up.

    Raises ChancError as `table`, and for a factor that is not above 0.
    """
    if not 0 < factor < float("inf"):
        raise ChancError(f"the factor of all widths must be above 0, not {factor}")
    return {key: min(WIDEST, max(2, 2 * round(size * factor / 2))) for key, size in table(name, aux=aux).items()}


def build(
    name: str,
    *,
    width: int | None = None,
    scale: float | None = None,
    widths: Mapping[str, int] | None = None,
    classes: int = 10,
    aux: bool = False,
    channels: int = 3,
) -> nn.Module:
    """Build a network: images [N, channels, H, W] to logits [N, classes]; with `aux` a second output of that shape.

    `width` sets every independent width, or `scale` scales them all (`scaled`); `widths` sets single ones by their
    names in `table(name)` and goes before both; widths are in channels. Weights are torch's default initialisation,
    from torch's global generator.

    Raises ChancError for an unknown network or width name, for a width that the network can't have, and where both
    `width` and `scale` are given.
    """
    if scale is not None and width is not None:
        raise ChancError("a network's widths are all set to one width, or all scaled: not both")
    family = _family(name, aux)
    for what, value in (("number of classes", classes), ("number of image channels", channels)):
        if value < 1:
            raise ChancError(f"the {what} must be at least 1, not {value}")
    usual = family.table(name, aux=aux) if scale is None else scaled(name, scale, aux=aux)
    chosen = _resolve(name, usual, width, widths or {})
    network: nn.Module = family.build(name, chosen, classes=classes, channels=channels, aux=aux)
    return network


def params(name: str, *, width: int | None = None, classes: int = 10) -> int:
    """The number of parameters of a network, counted without making its weights. Raises ChancError as `build`."""
    table(name)
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, width=width, classes=classes).parameters())


def _family(name: str, aux: bool) -> Any:
    known = name.partition(":")[0]
    if known not in _FAMILIES:
        raise ChancError(f"the zoo has no network {name!r}; it has {', '.join(_FAMILIES)}")
    if known != name and _FAMILIES[known] not in ("cnas", "densenet"):
        raise ChancError(f"{known} has no forms; cnas and cnas-densenet have some")
    if aux and _FAMILIES[known] not in ("darts", "flexcharts"):
        raise ChancError(f"{name} has no auxiliary head; the darts networks and flexcharts20 have one")
    plugins.require("torch", "the zoo", "torch")
    return importlib.import_module(f"{__name__}.{_FAMILIES[known]}")


def _resolve(name: str, usual: Mapping[str, int], width: int | None, widths: Mapping[str, int]) -> dict[str, int]:
    unknown = [key for key in widths if key not in usual]
    if unknown:
        raise ChancError(f"{name} has no width {unknown[0]!r}; it has {', '.join(usual)}")
    chosen = {key: usual[key] if width is None else width for key in usual} | dict(widths)
    for key, value in chosen.items():
        if value < 1:
            raise ChancError(f"the width {key} of {name} must be at least 1 channel, not {value}")
    return chosen
