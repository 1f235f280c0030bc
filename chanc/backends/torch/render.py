"""From a `Program` to the text of model.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chanc.backends.torch.body import inlined, live, local_names, substitute
from chanc.backends.torch.program import Program, Statement, Submodule, tokens
from chanc.backends.torch.wrap import wrap

_GROUP = '''class Group(nn.Module):
    """Submodules and parameters under the names by which the state_dict knows them."""

    def __init__(self, **members: nn.Module | nn.Parameter | nn.Buffer) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)
'''


@dataclass
class Tree:
    """A container of the module tree, or a leaf with a submodule."""

    children: dict[str, Tree] = field(default_factory=dict)
    leaf: Submodule | None = None

    def add(self, path: tuple[str, ...], submodule: Submodule) -> None:
        """Put a submodule at a path below this container."""
        if not path:
            self.leaf = submodule
        else:
            self.children.setdefault(path[0], Tree()).add(path[1:], submodule)

    @property
    def is_list(self) -> bool:
        """Whether the children are 0, 1, 2, ... and all of them modules."""
        names = list(self.children)
        return (
            sorted(names, key=lambda name: (len(name), name)) == [str(i) for i in range(len(names))]
            and self.holds_modules
        )

    @property
    def holds_modules(self) -> bool:
        """Whether no child is a bare parameter or buffer."""
        return not any(
            child.leaf and child.leaf.cls in ("nn.Parameter", "nn.Buffer") for child in self.children.values()
        )

    @property
    def is_dict(self) -> bool:
        """Whether it takes an nn.ModuleDict: numbered children with gaps."""
        return self.holds_modules and any(name.isdigit() for name in self.children) and not self.is_list

    def build(self, text: Callable[[Submodule], str], used: set[str]) -> str:
        """The constructor's text."""
        if self.leaf is not None:
            return text(self.leaf)
        parts = {name: child.build(text, used) for name, child in self.children.items()}
        if self.is_list:
            ordered = sorted(parts, key=int)
            return f"nn.ModuleList([{', '.join(parts[name] for name in ordered)}])"
        if self.is_dict:
            return "nn.ModuleDict({" + ", ".join(f'"{name}": {part}' for name, part in parts.items()) + "})"
        used.add("Group")
        if any(name.isdigit() for name in parts):
            return "Group(**{" + ", ".join(f'"{name}": {part}' for name, part in parts.items()) + "})"
        return "Group(" + ", ".join(f"{name}={part}" for name, part in parts.items()) + ")"

    def access(self, path: tuple[str, ...], prefix: str = "self") -> str:
        """The expression that reaches the submodule at a path."""
        if not path:
            return prefix
        name = path[0]
        if not name.isdigit():
            step = f"{prefix}.{name}"
        elif self.is_list:
            step = f"{prefix}[{name}]"
        elif self.is_dict:
            step = f'{prefix}["{name}"]'
        else:
            step = f'getattr({prefix}, "{name}")'
        return self.children[name].access(path[1:], step)


def class_text(
    name: str, doc: list[str], submodules: list[Submodule], statements: list[Statement], inputs: list[tuple[int, str]],
    outputs: list[str], program: Program, *, parameters: str = "", prefix: int = 0,
    constructor: Callable[[Submodule], str] = lambda submodule: submodule.text, used: set[str] | None = None,
    shapes: Mapping[int, str] | None = None,
) -> list[str]:  # fmt: skip
    """The lines of one class: constructor and forward."""
    used = set() if used is None else used
    tree = Tree()
    by_id = {submodule.mid: submodule for submodule in submodules}
    for submodule in submodules:
        tree.add(submodule.path[prefix:], submodule)
    lines = [f"class {name}(nn.Module):", *(f"    {line}" if line else "" for line in doc), ""]
    lines += [*wrap(f"    def __init__(self{parameters}) -> None:"), "        super().__init__()"]
    for child, subtree in tree.children.items():
        lines += wrap(f"        self.{child} = {subtree.build(constructor, used)}")

    def access(mid: int) -> str:
        return tree.access(by_id[mid].path[prefix:])

    lines += ["", *forward(statements, inputs, outputs, program, access, shapes or {})]
    return lines


def forward(
    statements: list[Statement], inputs: list[tuple[int, str]], outputs: list[str], program: Program,
    access: Callable[[int], str], shapes: Mapping[int, str],
) -> list[str]:  # fmt: skip
    """The lines of a forward method."""

    def measure(text: str) -> int:
        return len(substitute(text, dict.fromkeys(tokens(text, "v"), "x"), access))

    body = inlined(live(statements, outputs), outputs, measure)
    named = local_names(body, inputs, outputs, program.hints)
    arguments = ", ".join(f"{name}: torch.Tensor" for _, name in inputs)
    result = "torch.Tensor" if len(outputs) == 1 else f"tuple[{', '.join(['torch.Tensor'] * len(outputs))}]"
    lines = wrap(f"    def forward(self, {arguments}) -> {result}:")
    final = ", ".join(substitute(text, named, access) for text in outputs)
    last_comment = ""
    for index, statement in enumerate(body):
        text = substitute(statement.text, named, access)
        names = ", ".join(named[target] for target in statement.targets)
        comment = shapes.get(statement.targets[0], "")
        comment, last_comment = ("" if comment == last_comment else comment), comment or last_comment
        if index == len(body) - 1 and names == final:
            return lines + wrap(f"        return {text}", comment)
        if names != text:
            lines += wrap(f"        {names} = {text}", comment)
    return [*lines, *wrap(f"        return {final}")]


def document(program: Program, classes: list[list[str]], table: list[str], used: set[str]) -> str:
    """The whole file: docstring, imports, table of widths, helper functions, classes."""
    inputs = ", ".join(f"{name} {program.shapes.get(vid, '')}".strip() for vid, name in program.inputs)
    blocks = [helper_source(name) for name in sorted(program.helpers)]
    if "Group" in used:
        blocks.append(_GROUP.rstrip().split("\n"))
    text = "\n\n\n".join("\n".join(block) for block in [*blocks, *classes])
    imports = ["import math", ""] if re.search(r"\bmath\.", text) else []
    imports += ["import torch"]
    imports += ["import torch.nn.functional as F"] if re.search(r"\bF\.", text) else []
    imports += ["from torch import nn"]
    head = [
        f'"""{program.name}, as PyTorch source.',
        "",
        *wrap(f"Input: {inputs}."),
        *([program.note] if program.note else []),
    ]
    head += ['Weights: load_state_dict(safetensors.torch.load_file("model.safetensors")).', '"""', "", *imports]
    if table:
        head += ["", *table]
    return "\n".join(head) + "\n\n\n" + text + "\n"


def helper_source(name: str) -> list[str]:
    """The source of a prelude function, without its type-checking comment."""
    from chanc.backends.torch import prelude

    source = inspect.getsource(getattr(prelude, name))
    return re.sub(r"  # type: ignore\[[\w, -]*\]", "", source).rstrip().split("\n")


def render(program: Program) -> str:
    """The text of model.py."""
    used: set[str] = set()
    reached = {mid for s in live(program.statements, program.outputs) for mid in s.calls}
    reached.update(mid for text in program.outputs for mid in tokens(text, "m"))
    submodules = [submodule for mid, submodule in program.submodules.items() if mid in reached]
    doc = [f'"""{program.name}."""']
    lines = class_text(
        program.name, doc, submodules, program.statements, program.inputs, program.outputs, program, used=used,
        shapes=program.shapes,
    )  # fmt: skip
    return document(program, [lines], [], used)
