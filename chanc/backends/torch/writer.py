"""How the rules read a value as text and write statements and submodules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from chanc.backends.torch import names, symbols
from chanc.backends.torch.node import Node
from chanc.backends.torch.program import Binding, Statement, Submodule, module_token, tokens, value_token
from chanc.backends.torch.values import Values
from chanc.errors import ModelError


class Writer(Values):
    """Text of values, statements, submodules with their bindings."""

    def __call__(self, value: ir.Value | None) -> str:
        """The value as a torch tensor."""
        if value is None:
            return "None"
        if value in self._tensors:
            return value_token(self._tensors[value])
        if value in self._hosts:
            return self._host_tensor(value)
        if self.const(value) is not None:
            return self._leaf(value)
        raise ModelError(f"value {value.name!r} is used before it is computed")

    def operand(self, value: ir.Value, other: ir.Value | None = None) -> str:
        """The value as an operand of broadcasting: a literal where it is a single number, else a tensor."""
        host = self.host(value, limit=1)
        if host is not None and host.size == 1 and not self.is_bool_or_unsigned(value):
            rank = self.rank(other)
            other_is_tensor = other is not None and other in self._tensors
            if other_is_tensor and (host.ndim <= (1 if rank is None else rank)):
                return symbols.inner(host.reshape(-1)[0])
        return self(value)

    def is_bool_or_unsigned(self, value: ir.Value) -> bool:
        """Dtypes for which torch would promote a Python number in another way than ONNX."""
        return self.dtype(value) in ("bool", "uint16", "uint32", "uint64")

    def ints(self, value: ir.Value | None) -> str:
        """A one-dimensional integer input as the text of a Python list."""
        host = self.host(value)
        if host is not None:
            return f"[{', '.join(symbols.text(entry) for entry in host.reshape(-1))}]"
        return f"{self(value)}.tolist()"

    def axes(self, node: Node, index: int, attribute: str = "axes") -> list[int] | None:
        """Axes from an attribute or, in newer opsets, from a constant input; None where neither is given."""
        given = node.ints(attribute)
        if given is not None or not node.has(index):
            return given
        array = self.const(node.input(index))
        if array is None:
            raise node.refuse(f"its {attribute} are computed by the network")
        return [int(entry) for entry in array.reshape(-1)]

    def size(self, value: ir.Value, axis: int) -> int | symbols.Sym:
        """One size: a number where it is known, else a local variable that reads it."""
        shape = self.shape(value)
        if shape is not None and shape[axis] is not None:
            return int(shape[axis] or 0)
        if shape is not None:
            axis %= len(shape)
        key = (self._tensors[value], axis)
        if key not in self._sizes:
            vid = self.new_value(None, "nchw"[axis] if shape is not None and len(shape) == 4 and axis != 1 else "size")
            self.statements.append(Statement([vid], f"{self(value)}.size({axis})"))
            self._sizes[key] = symbols.Sym(value_token(vid))
        return self._sizes[key]

    def device(self) -> str:
        """The text of the device that the network's input is on."""
        return f"{value_token(0)}.device"

    def nonnegative(self, node: Node, index: int, data: ir.Value | None, axis: int) -> str:
        """Indices into `axis` of `data`, where negative ones count from the end (torch's gather takes none)."""
        where = node.inputs[index]
        known = self.frozen(where)
        if known is not None and (known >= 0).all():
            return self(where) if self.dtype(where) == "int64" else f"{self(where)}.long()"
        size = f"{self(data)}.size({axis})"
        return f"torch.where({self(where)} < 0, {self(where)} + {size}, {self(where)}).long()"

    def new_value(self, value: ir.Value | None, hint: str = "") -> int:
        """A fresh value number for `value`."""
        vid = len(self._values)
        self._values.append(value)
        if hint:
            self._hints[vid] = hint
        if value is not None:
            self._tensors[value] = vid
        return vid

    def write(self, node: Node, text: str, *, compound: bool = False, out: int = 0) -> None:
        """Write `output = text` for one output of the node."""
        self.statements.append(Statement([self.new_value(node.outputs[out])], text, compound))

    def extend(self, node: Node, text: str, *, compound: bool = False) -> None:
        """Write `output = text` once more, where the text reads the output itself; its channels stay the same."""
        before = self._tensors[node.outputs[0]]
        self.write(node, text, compound=compound)
        self._parent[self._find(before)] = self._find(self._tensors[node.outputs[0]])

    def write_many(self, node: Node, text: str, count: int | None = None) -> None:
        """Write `a, b, ... = text` for the node's outputs."""
        outs = node.outputs[:count]
        self.statements.append(Statement([self.new_value(out) for out in outs], text, inline=False))

    def unpack(self, targets: list[int | tuple[int, ...]], text: str) -> None:
        """Write `a, b = text`; a tuple among the targets is one result that holds several values."""
        flat = [target if isinstance(target, int) else self.new_value(None, "state") for target in targets]
        self.statements.append(Statement(flat, text, inline=False))
        for target, vid in zip(targets, flat, strict=True):
            if not isinstance(target, int):
                self.statements.append(Statement(list(target), value_token(vid), inline=False))

    def local(self, text: str, hint: str, *, compound: bool = False, inline: bool = True) -> str:
        """Write an intermediate value and return its token."""
        vid = self.new_value(None, hint)
        self.statements.append(Statement([vid], text, compound, inline))
        return value_token(vid)

    def helper(self, name: str) -> str:
        """Use a function of the prelude: it is written into the source. Returns its name."""
        self.helpers.add(name)
        return name

    def module(
        self, node: Node, cls: str, args: list[str], tensors: dict[str, tuple[ir.Value, Binding]],
        *, kind: str, widths: dict[int, ir.Value | None] | None = None, uses: Sequence[ir.Value] = (),
    ) -> str:  # fmt: skip
        """Make a submodule and return its token; the same weights with the same arguments give the same submodule.

        One of vectors only (a normalisation) is never shared: exporters store equal vectors of different layers once.
        """
        origins = tuple((attr, self.origin(value), binding.part) for attr, (value, binding) in tensors.items())
        key = (cls, tuple(args), origins)
        is_layer = any(self._consts[value].array.ndim > 1 for value, _ in tensors.values())
        if key in self._shared and is_layer:
            self._escaped.update(self._tensors[value] for value in node.inputs if value in self._tensors)
            known = self.submodules[self._shared[key]].tensors
            for attr, (_, binding) in tensors.items():
                known[attr] = replace(known[attr], uses=known[attr].uses + binding.uses)
            return module_token(self._shared[key])
        mid = len(self.submodules)
        named = {attr: self._consts[value].name for attr, (value, _) in tensors.items()}
        is_named = any(
            not names.is_generated(self._consts[v].name) for v, _ in tensors.values() if (self.rank(v) or 0) > 1
        )
        path = self.paths.for_module(node, named, kind, shared=not (is_layer and is_named))
        submodule = Submodule(mid, path, cls, args)
        for attr, (value, binding) in tensors.items():
            if self._consts[value].origin is None:
                self.constants[".".join((*path, attr))] = binding.to_tensor(self._consts[value].array)
                binding = replace(binding, constant=True)
            elif self._consts[value].array.ndim > 1:
                mark = (self.origin(value), binding.part, binding.rows, binding.transpose, binding.shape)
                first = self._tied.setdefault(mark, ".".join((*path, attr)))
                binding = replace(binding, tied=first if first != ".".join((*path, attr)) else "")
            submodule.tensors[attr] = binding
        submodule.widths = {
            position: self._tensors[value]
            for position, value in (widths or {}).items()
            if value is not None and value in self._tensors
        }
        self.submodules[mid] = submodule
        self._shared[key] = mid
        if submodule.widths:
            self._sized.add(node.raw)
        return module_token(mid)

    def bind(self, node: Node, index: int, **how: object) -> tuple[ir.Value, Binding]:
        """An input of a node that becomes a submodule's tensor; see `Binding` for the keywords."""
        value = node.input(index)
        if value is None or self.const(value) is None:
            raise node.refuse(f"input {index} is not a constant")
        first = next((out.name for out in node.outputs if out.name), "") or ""
        return value, Binding(self.origin(value), uses=((first, index),), **how)  # type: ignore[arg-type]

    def count_outputs(self, module: str, position: int, value: ir.Value) -> None:
        """Note that argument `position` of a submodule counts the channels of `value`."""
        self.submodules[tokens(module, "m")[0]].widths[position] = self._tensors[value]

    def same_channels(self, a: ir.Value | None, b: ir.Value | None) -> None:
        """Note that two values have the same channels."""
        if a in self._tensors and b in self._tensors:
            self._parent[self._find(self._tensors[a])] = self._find(self._tensors[b])

    def _find(self, vid: int) -> int:
        parent = self._parent
        while (above := parent.get(vid, vid)) != vid:
            parent[vid] = parent.get(above, above)  # half the way the next time
            vid = above
        return vid

    def _host_tensor(self, value: ir.Value) -> str:
        host = self._hosts[value]
        entries = np.vectorize(symbols.text, otypes=[object])(host).tolist() if host.size else []
        body = re.sub(r"'((?:[^'\\]|\\.)*)'", lambda m: m.group(1).replace("\\x00", "\0"), repr(entries))
        found = tokens(body, "v")
        device = f", device={self.device()}" if found else ""
        return f"torch.tensor({body}, dtype=torch.{self.dtype(value)}{device})"

    def _leaf(self, value: ir.Value) -> str:
        found = self._consts[value]
        key = (self.origin(value), "" if found.array.ndim > 1 and found.origin is not None else value.name or "")
        if key in self._leaves:
            return module_token(self._leaves[key])
        if found.array.dtype.kind in "OSU":
            raise ModelError(f"constant {value.name!r} holds strings, which PyTorch has no tensors for")
        trains = self.trains(value)
        mid = len(self.submodules)
        path = self.paths.for_tensor(found.name)
        shape = ", ".join(str(dim) for dim in found.array.shape)
        dtype = self.dtype(value)
        kwarg = "" if dtype == "float32" else f", dtype=torch.{dtype}"
        inner = f"torch.{'empty' if trains else 'zeros'}({shape or '()'}{kwarg})"
        mark = (self.origin(value), None, None, False, None) if found.array.ndim > 1 else key
        first = self._tied.setdefault(mark, ".".join(path)) if trains else ""
        tied = first if first != ".".join(path) else ""
        binding = Binding(self.origin(value), constant=found.origin is None, tied=tied)
        self.submodules[mid] = Submodule(mid, path, "nn.Parameter" if trains else "nn.Buffer", [inner], {"": binding})
        if binding.constant:
            self.constants[".".join(path)] = found.array
        self._leaves[key] = mid
        return module_token(mid)
