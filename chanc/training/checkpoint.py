"""Nested state (dictionaries, lists, numbers, tensors) in one .safetensors file, JSON in its header: no pickle.

One file, because two could be of different epochs when the writer is killed between them. The header also holds a
CRC-32 of the rest, because safetensors itself takes any values.
"""

from __future__ import annotations

import json
import os
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeAlias, cast

import torch
from torch import Tensor

from chanc.errors import MissingDependencyError, RunError
from chanc.files import atomic_write, open_regular

_KEY = "chanc"

Json: TypeAlias = "bool | int | float | str | list[Json] | None"


def save_state(path: str | os.PathLike[str], state: Mapping[str, object]) -> None:
    """Write `state` atomically. Raises: RunError where the file can't be written; TypeError for other values."""
    safetensors_torch = _safetensors()
    from safetensors import SafetensorError

    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(dict(state), "", tensors))
    try:
        with atomic_write(path) as temporary:
            # Its own save_file puts another file there, under a name of its own while it writes.
            metadata = {_KEY: f"{_checksum(tree, tensors)} {tree}"}
            temporary.write_bytes(safetensors_torch.save(tensors, metadata=metadata))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} can't be written: {getattr(error, 'strerror', None) or error}") from error


def load_state(path: str | os.PathLike[str], device: torch.device | None = None) -> dict[str, object]:
    """What `save_state` wrote, tensors on `device` (the CPU by default). Raises: RunError for a damaged file."""
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        open_regular(path).close()  # safetensors itself would wait for a pipe's other end
        with safe_open(Path(path), framework="pt", device=str(device or "cpu")) as file:
            known, _, tree = (file.metadata() or {})[_KEY].partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if known != _checksum(tree, tensors):
                raise ValueError("its checksum is another one")
            state = _unpack(json.loads(tree), tensors)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} is not a checkpoint, or is damaged: {str(error).splitlines()[0]}; "
                       f"see `chanc fsck {shlex.quote(str(path))}`") from error  # fmt: skip
    if not isinstance(state, dict):
        raise RunError(f"{path} is not a checkpoint")
    return state


def _checksum(tree: str, tensors: Mapping[str, Tensor]) -> str:
    found = zlib.crc32(tree.encode())
    for name in sorted(tensors):
        values = tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        found = zlib.crc32(values.data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def _pack(value: object, path: str, tensors: dict[str, Tensor]) -> Json:
    """JSON in which every container is a list that starts with its kind; tensors go into `tensors`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"{len(tensors)}{path}"
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        # The layout is part of the state: vectorised and strided loops may round differently.
        strided = value.dim() == 4 and not value.is_contiguous()
        return ["tensor", name, strided and value.is_contiguous(memory_format=torch.channels_last)]
    if isinstance(value, dict):
        return ["dict", [[key, _pack(item, f"{path}.{key}", tensors)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_pack(item, f"{path}.{k}", tensors) for k, item in enumerate(value)]]
    raise TypeError(f"{path.lstrip('.')}: a {type(value).__name__} can't be kept in a checkpoint")


def _unpack(tree: Json, tensors: Mapping[str, Tensor]) -> object:
    match tree:
        case ["tensor", str(name), channels_last]:
            tensor = tensors[name]
            return tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor
        case ["dict", list(entries)]:
            pairs = cast(list[tuple[str | int, Json]], entries)
            return {key: _unpack(item, tensors) for key, item in pairs}
        case ["list" | "tuple" as kind, list(entries)]:
            items = [_unpack(item, tensors) for item in entries]
            return items if kind == "list" else tuple(items)
        case list():
            raise ValueError(f"unknown kind of content {tree[:1]}")
    return tree


def _safetensors() -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependencyError("checkpoints need safetensors: pip install 'chanc[torch]'") from error
    return safetensors.torch
