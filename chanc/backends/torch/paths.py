"""Where a tensor lives in the module tree: state_dict keys equal the initializers' names where these are valid."""

from __future__ import annotations

import re

from chanc.backends.torch import names
from chanc.backends.torch.node import Node

Path = tuple[str, ...]


def split(name: str) -> Path:
    """`layer1.0.conv1` as safe components."""
    return tuple(names.component(part) for part in name.split(".") if part) or ("part",)


class PathBook:
    """Hands out paths below one path; no path is ever another's prefix, so every one can be an attribute."""

    def __init__(self, below: Path = ()) -> None:
        self._below = below
        self._leaves: set[Path] = set()
        self._containers: set[Path] = set()
        self._counts: dict[str, int] = {}
        self._copies: dict[Path, int] = {}
        self._homes: dict[Path, Path] = {}

    def for_module(self, node: Node, tensors: dict[str, str], kind: str, *, shared: bool) -> Path:
        """A path for a submodule that holds `tensors` (attribute -> initializer's name).

        Names that may be `shared` (equal vectors of several layers, stored once) count less than the exporter's scope.
        """
        scope = split(found) if (found := _scope(node)) else ()
        candidates = [split(candidate) for candidate in self._candidates(node, tensors)]
        if shared and scope:
            agreeing = [path for path in candidates if path[-len(scope) :] == scope]
            candidates = [*agreeing, self._placed(scope), *candidates]
        for path in candidates:
            if not path[0].isdigit() and self._free(path):
                if not shared:
                    self._learn(scope, path)
                return self._take(path)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._take(self._make_free((f"{kind}{self._counts[kind]}",)))

    def _learn(self, scope: Path, path: Path) -> None:
        """Scopes leave out containers that are never called (nn.ModuleList): note which scope is which container."""
        for end in range(1, min(len(scope), len(path)) + 1):
            if scope[-end:] != path[-end:]:
                break
            self._homes.setdefault(scope[:-end], path[:-end])

    def _placed(self, scope: Path) -> Path:
        for end in range(len(scope) - 1, 0, -1):
            if scope[:end] in self._homes:
                return (*self._homes[scope[:end]], *scope[end:])
        return scope

    def for_tensor(self, name: str) -> Path:
        """A path for a bare parameter or buffer."""
        path = ("constant",) if names.is_generated(name) or not name else split(name)
        if path[0].isdigit():
            path = (f"part_{path[0]}", *path[1:])
        return self._take(self._make_free(path))

    def _candidates(self, node: Node, tensors: dict[str, str]) -> list[str]:
        found = [name[: -len(attr) - 1] for attr, name in tensors.items() if name.endswith(f".{attr}")]
        found += [name for scope in (_scope(node),) for name in (scope,) if name]
        named = [name for attr, name in tensors.items() if not names.is_generated(name)]
        found += [names.stem(re.sub(r"[/:]+", "_", names.stem(name)).strip("_")) for name in named[:1]]
        return [name for name in found if name and not names.is_generated(name)]

    def _free(self, path: Path) -> bool:
        if path in self._leaves or path in self._containers:
            return False
        return not any(path[:end] in self._leaves for end in range(1, len(path)))

    def _make_free(self, path: Path) -> Path:
        for end in range(1, len(path)):  # an attribute of a plain submodule moves beside it
            while path[:end] in self._leaves:
                path = (
                    *path[: end - 1],
                    f"{path[end - 1]}_" if not path[end - 1].isdigit() else f"part_{path[end - 1]}",
                    *path[end:],
                )
        base, count = path, self._copies.get(path, 1)
        while not self._free(path):
            count += 1
            last = f"part_{base[-1]}" if base[-1].isdigit() else base[-1]
            path = (*base[:-1], f"{last}_{count}")
        self._copies[base] = max(count - 1, 1)
        return path

    def _take(self, path: Path) -> Path:
        self._leaves.add(path)
        self._containers.update(path[:end] for end in range(1, len(path)))
        return (*self._below, *path)


def _scope(node: Node) -> str:
    """The module path that an exporter noted: in metadata, or in a node name like /layer1/layer1.0/conv1/Conv."""
    noted = node.raw.metadata_props.get("pkg.torch.onnx.name_scopes", "")
    scopes = re.findall(r"'([^']*)'", noted)
    if len(scopes) > 1:
        return str(scopes[-2])
    name = node.raw.name or ""
    if not name.startswith("/"):
        return ""
    parts: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)
