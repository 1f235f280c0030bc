"""From a `Program` to the text of model.py."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from chanc.backends.torch.body import inlined, live, local_names, substitute
from chanc.backends.torch.classes import DEFAULTS, BlockClass, Classes, leaves
from chanc.backends.torch.program import Program, Statement, Submodule, tokens
from chanc.backends.torch.structure import Block, Structure, fold_blocks
from chanc.backends.torch.widths import table_lines, tabulate
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
    """A container of the module tree, or a leaf with a submodule; it is read when all are in it."""

    children: dict[str, Tree] = field(default_factory=dict)
    leaf: Submodule | None = None
    is_class: bool = False
    """Whether it is the class itself, whose numbered children are attributes too."""

    def add(self, path: tuple[str, ...], submodule: Submodule) -> None:
        """Put a submodule at a path below this container."""
        if not path:
            self.leaf = submodule
        else:
            self.children.setdefault(path[0], Tree()).add(path[1:], submodule)

    @functools.cached_property
    def is_list(self) -> bool:
        """Whether the children are 0, 1, 2, ... and all of them modules."""
        names = list(self.children)
        if self.is_class:
            return False
        return (
            sorted(names, key=lambda name: (len(name), name)) == [str(i) for i in range(len(names))]
            and self.holds_modules
        )

    @functools.cached_property
    def holds_modules(self) -> bool:
        """Whether no child is a bare parameter or buffer."""
        return not any(
            child.leaf and child.leaf.cls in ("nn.Parameter", "nn.Buffer") for child in self.children.values()
        )

    @functools.cached_property
    def is_dict(self) -> bool:
        """Whether it takes an nn.ModuleDict: numbered children with gaps."""
        return (
            not self.is_class
            and self.holds_modules
            and any(name.isdigit() for name in self.children)
            and not self.is_list
        )

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
    shapes: Mapping[int, str] | None = None, ties: Iterable[tuple[str, str]] = (),
) -> list[str]:  # fmt: skip
    """The lines of one class: constructor and forward."""
    used = set() if used is None else used
    tree = Tree(is_class=True)
    by_id = {submodule.mid: submodule for submodule in submodules}
    for submodule in submodules:
        tree.add(submodule.path[prefix:], submodule)
    lines = [f"class {name}(nn.Module):", *(f"    {line}" if line else "" for line in doc), ""]
    lines += [*wrap(f"    def __init__(self{parameters}) -> None:"), "        super().__init__()"]
    for child, subtree in tree.children.items():
        text = subtree.build(constructor, used)
        lines += wrap(
            f'        setattr(self, "{child}", {text})' if child.isdigit() else f"        self.{child} = {text}"
        )
    for key, first in ties:
        lines += wrap(f"        {_attribute(key)} = {_attribute(first)}")

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
    ]
    head += wrap(f"Made of pixels of 0 to 255: {program.pixels}.") if program.pixels else []
    head += wrap(f"It ends before the ONNX graph does, and returns {', '.join(program.ends)}.") if program.ends else []
    head += ['Weights: load_state_dict(safetensors.torch.load_file("model.safetensors")).', '"""', "", *imports]
    if table:
        head += ["", *table]
    return "\n".join(head) + "\n\n\n" + text + "\n"


def helper_source(name: str) -> list[str]:
    """The source of a prelude function, without its type-checking comment."""
    from chanc.backends.torch import prelude

    return re.sub(r"  # type: ignore\[[\w, -]*\]", "", prelude.source(name)).rstrip().split("\n")


def reached(program: Program) -> list[int]:
    """The submodules and parameters that have a say in an output, those inside of bodies among them."""
    called = {mid for statement in live(program.statements, program.outputs) for mid in statement.calls}
    called.update(mid for text in program.outputs for mid in tokens(text, "m"))
    blocks = [found for mid in called if isinstance(found := program.submodules[mid], Block)]
    return sorted(called | {inner.mid for block in blocks for inner in _all_inside(block)})


def settle_ties(program: Program) -> None:
    """Where the first holder of a shared parameter has no say in an output, the next one that has is the first."""
    kept = [program.submodules[mid] for mid in reached(program)]
    known = {key for found in kept for key in found.keys()}  # noqa: SIM118  (no mapping)
    heirs: dict[str, str] = {}
    for submodule in kept:
        for (key, binding), name in zip(submodule.keys().items(), list(submodule.tensors), strict=True):
            if binding.tied and binding.tied not in known:
                first = heirs.setdefault(binding.tied, key)
                submodule.tensors[name] = replace(binding, tied="" if first == key else first)


def _all_inside(block: Block) -> Iterator[Submodule]:
    for submodule in block.inside:
        yield submodule
        if isinstance(submodule, Block):
            yield from _all_inside(submodule)


def render(program: Program) -> str:
    """The text of model.py."""
    statements, known = live(program.statements, program.outputs), reached(program)
    widths = tabulate(program, set(known))
    structure = fold_blocks(program, statements)
    classes = Classes({program.name, "Group", "WIDTHS", *program.helpers})
    classes.assign(list(_blocks(structure.submodules.values())))
    used: set[str] = set()
    named = {group: f'WIDTHS["{name}"]' for group, (name, _) in widths.items()}
    texts = [_class_lines(found, program, used, named) for found in _needed(classes, structure)]
    texts.append(
        class_text(
            program.name, [f'"""{program.name}."""'], list(structure.submodules.values()), structure.statements,
            program.inputs, program.outputs, program, constructor=_constructor({}, named), used=used,
            shapes=program.shapes,
            ties=[(key, b.tied) for m in known for key, b in program.submodules[m].keys().items() if b.tied],
        )
    )  # fmt: skip
    return document(program, texts, table_lines(widths), used)


def _attribute(key: str) -> str:
    """The expression of a parameter by its state_dict key, whatever its containers are."""
    path, _, name = key.rpartition(".")
    return f'self.get_submodule("{path}").{name}'


def _blocks(submodules: Iterable[Submodule]) -> Iterator[Block]:
    for submodule in submodules:
        if isinstance(submodule, Block):
            yield submodule
            yield from _blocks(submodule.inside)


def _needed(classes: Classes, structure: Structure) -> list[BlockClass]:
    """The classes in the order in which the file must define them, without those that nobody constructs."""
    wanted = {block.cls for block in _blocks(structure.submodules.values())}
    return [found for found in classes.found if found.name in wanted]


def _constructor(texts: Mapping[int, str], named: Mapping[int, str]) -> Callable[[Submodule], str]:
    """How a submodule is constructed: by the given text, or by its own arguments."""

    def text(submodule: Submodule) -> str:
        if id(submodule) in texts:
            return _with_widths(texts[id(submodule)], named)
        if isinstance(submodule, Block) and submodule.cls == "nn.Sequential":
            return f"nn.Sequential({', '.join(text(item) for item in submodule.items)})"
        return _with_widths(submodule.text, named)

    return text


def _with_widths(text: str, named: Mapping[int, str]) -> str:
    return re.sub(r"\0w(\d+)\0", lambda found: named[int(found[1])], text)


def _class_lines(found: BlockClass, program: Program, used: set[str], named: Mapping[int, str]) -> list[str]:
    block = found.model
    texts = {id(leaf): f"{leaf.cls}({', '.join(found.texts[place])})" for place, leaf in enumerate(leaves(block))}
    construct = _constructor(texts, named)
    parameters = "".join(
        f", {name}: {'int' if plain else 'int | tuple[int, ...]'}{f' = {DEFAULTS[name]}' if name in DEFAULTS else ''}"
        for name, plain in found.parameters
    )
    doc = [f'"""{_where(found)}"""']
    if block.items:
        lines = [f"class {found.name}(nn.Sequential):", f"    {doc[0]}", ""]
        lines += wrap(f"    def __init__(self{parameters}) -> None:")
        return [*lines, *wrap(f"        super().__init__({', '.join(construct(item) for item in block.items)})")]
    names = itertools.chain("xyzuvwabcdefghijklmnopqrst", (f"x{count}" for count in itertools.count()))
    inputs = list(zip(block.inputs, names, strict=False))
    outputs = [f"\0v{vid}\0" for vid in block.outputs]
    shapes = program.shapes if found.uses == 1 else {}
    return class_text(
        found.name, doc, block.inside, block.body, inputs, outputs, program, parameters=parameters,
        prefix=len(block.path), constructor=construct, used=used, shapes=shapes,
    )  # fmt: skip


def _where(found: BlockClass) -> str:
    name = ".".join(found.model.path)
    return f"The block {name}." if found.uses == 1 else f"The block {name} and {found.uses - 1} like it."
