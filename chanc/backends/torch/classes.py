"""Equal blocks share a class: what differs (widths, strides, kernels) becomes its constructor's arguments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from chanc.backends.torch.names import reserved, unique
from chanc.backends.torch.program import Submodule
from chanc.backends.torch.structure import Block

# What torch assumes where a keyword is not written: a keyword that only some blocks write becomes an argument.
DEFAULTS: dict[str, str] = {
    "stride": "1",
    "padding": "0",
    "dilation": "1",
    "groups": "1",
    "momentum": "0.1",
    "eps": "1e-05",
}


@dataclass
class BlockClass:
    """One class of the emitted file."""

    name: str
    model: Block
    """The block that the text is made from."""
    parameters: list[tuple[str, bool]] = field(default_factory=list)
    """Names of the constructor's arguments, and whether each is a plain number."""
    texts: dict[int, list[str]] = field(default_factory=dict)
    """Number of a leaf of the model block -> its arguments, parameters put in."""
    uses: int = 1


def leaves(block: Block) -> list[Submodule]:
    """The submodules whose constructors stand in the block's own constructor, sequences opened."""
    inside = block.items or block.inside
    found: list[Submodule] = []
    for submodule in inside:
        found += leaves(submodule) if isinstance(submodule, Block) and submodule.cls == "nn.Sequential" else [submodule]
    return found


def positional(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Arguments by position and by keyword."""
    plain = [arg for arg in args if not re.match(r"[a-z_]+=", arg)]
    return plain, {arg.split("=", 1)[0]: arg.split("=", 1)[1] for arg in args if re.match(r"[a-z_]+=", arg)}


class Classes:
    """Gives every block a class, the same one to equal blocks."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.found: list[BlockClass] = []

    def assign(self, blocks: list[Block]) -> None:
        """Set `cls` and `args` of all blocks, innermost first; a sequence that does not repeat stays nn.Sequential."""
        for height in sorted({_height(block) for block in blocks}):
            alike: dict[object, list[Block]] = defaultdict(list)
            for block in blocks:
                if _height(block) == height:
                    alike[_shape(block)].append(block)
            for group in alike.values():
                if group[0].cls != "nn.Sequential" or (len(group) > 2 and _is_unit(group[0])):
                    self._make(group)

    def _hint(
        self, leaf: Submodule, position: int, column: tuple[str, ...], known: Collection[tuple[str, ...]],
        outputs: list[tuple[str, ...]],
    ) -> str:  # fmt: skip
        """A name for an argument: what it counts, or what the inner class calls it."""
        if not leaf.cls.startswith("nn."):
            inner = next((found for found in self.found if found.name == leaf.cls), None)
            name = inner.parameters[position][0] if inner is not None and position < len(inner.parameters) else "value"
            if name.rstrip("_0123456789") not in ("inputs", "width", "outputs"):
                return name
        elif not leaf.cls.startswith(("nn.Conv", "nn.Linear")):
            return "width"
        elif position == 2:
            return "kernel"
        if not known:
            return "inputs"
        return "outputs" if outputs and column == outputs[-1] and len(set(outputs)) > 1 else "width"

    def _make(self, group: list[Block]) -> None:
        model = group[0]
        items = [leaves(block) for block in group]
        keywords = [_keywords(alike) for alike in zip(*items, strict=True)]
        rows = [[_full(leaf, known) for leaf, known in zip(found, keywords, strict=True)] for found in items]
        columns: dict[tuple[str, ...], str] = {}
        texts: dict[int, list[str]] = {}
        taken: set[str] = {"self", *(arg for leaf in leaves(model) for arg in leaf.path[-1:])}
        outputs = _outputs(group, rows)
        for place, leaf in enumerate(leaves(model)):
            args = []
            for position, (keyword, value) in enumerate(rows[0][place]):
                column = tuple(row[place][position][1] for row in rows)
                if len(set(column)) > 1:
                    if column not in columns:
                        hint = keyword or self._hint(leaf, position, column, columns, outputs)
                        columns[column] = unique(hint, taken)
                    value = columns[column]
                if not (keyword in DEFAULTS and value == DEFAULTS[keyword]):
                    args.append(f"{keyword}={value}" if keyword else value)
            texts[place] = args
        columns = dict(sorted(columns.items(), key=lambda item: item[1] in DEFAULTS))
        name = _numbered(_name(model), self.taken)
        plain = [all("(" not in text for text in column) for column in columns]
        self.found.append(BlockClass(name, model, list(zip(columns.values(), plain, strict=True)), texts, len(group)))
        for index, block in enumerate(group):
            block.args = [
                f"{given}={column[index]}" if given in DEFAULTS else column[index]
                for column, given in columns.items()
                if column[index] != DEFAULTS.get(given)
            ]
            block.cls = name


def _height(block: Block) -> int:
    """How deep blocks are nested in a block."""
    return 1 + max((_height(inner) for inner in block.inside if isinstance(inner, Block)), default=0)


def _is_unit(block: Block) -> bool:
    """Whether a sequence is worth a class: a few layers of torch, as convolution, norm and activation."""
    items = leaves(block)
    return 1 < sum(bool(item.tensors) for item in items) < 4 and all(item.cls.startswith("nn.") for item in items)


def _keywords(alike: Iterable[Submodule]) -> list[str]:
    """The keywords that any of these leaves writes out."""
    return list(dict.fromkeys(keyword for leaf in alike for keyword in positional(leaf.args)[1]))


def _full(leaf: Submodule, keywords: list[str]) -> list[tuple[str, str]]:
    """The leaf's arguments as (keyword, text), with the defaults of keywords that another block writes out."""
    plain, named = positional(leaf.args)
    return [("", arg) for arg in plain] + [
        (keyword, named.get(keyword, DEFAULTS.get(keyword, ""))) for keyword in keywords
    ]


def _shape(block: Block) -> object:
    """What two blocks must share: statements up to names, and the kinds and places of submodules."""
    depth = len(block.path)
    number: dict[int, int] = {vid: index for index, vid in enumerate(block.inputs)}
    lines = []
    by_id = {submodule.mid: ".".join(submodule.path[depth:]) for submodule in block.inside}
    for statement in block.body:
        text = re.sub(r"\x00v(\d+)\x00", lambda found: f"<{number[int(found[1])]}>", statement.text)
        lines.append(re.sub(r"\x00m(\d+)\x00", lambda found: f"[{by_id[int(found[1])]}]", text))
        for vid in statement.targets:
            number[vid] = len(number)
    return tuple(lines), block.cls, tuple(_signature(leaf, depth) for leaf in leaves(block))


def _signature(leaf: Submodule, depth: int) -> object:
    plain, named = positional(leaf.args)
    fixed = {keyword: text for keyword, text in named.items() if keyword not in DEFAULTS}
    kept = [arg for arg in plain if not re.fullmatch(r"\x00w\d+\x00( \* \d+)?|\d+|\([\d, ]+\)", arg)]
    if leaf.cls.startswith("nn.") or leaf.cls.startswith("torch."):
        return leaf.path[depth:], leaf.cls, len(plain), tuple(kept), tuple(sorted(fixed.items()))
    return leaf.path[depth:], leaf.cls, len(plain)


def _outputs(group: list[Block], rows: list[list[list[tuple[str, str]]]]) -> list[tuple[str, ...]]:
    """The columns that are some submodule's output width."""
    found = []
    for place, leaf in enumerate(leaves(group[0])):
        if leaf.cls.startswith(("nn.Conv", "nn.Linear")):
            found.append(tuple(row[place][1][1] for row in rows))
    return found


def _numbered(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}{count}"
    taken.add(candidate)
    return candidate


_SHORT = {"Conv1d": "Conv", "Conv2d": "Conv", "BatchNorm1d": "Norm", "BatchNorm2d": "Norm"}


def _name(block: Block) -> str:
    """A name from the layers inside, from the container's own name, or from its list's (`cells.3` is a Cell)."""
    parts = [item.cls.removeprefix("nn.") for item in leaves(block)]
    if block.cls == "nn.Sequential" or (block.path[-1].isdigit() and set(parts) <= set(_SHORT) and len(parts) < 4):
        return "".join(_SHORT.get(part, part) for part in parts) if len(parts) < 5 else "Chain"
    named = next((part for part in reversed(block.path) if not part.isdigit()), "")
    word = re.sub(r"(_?\d+[a-z]?)+$", "", named)
    if block.path[-1].isdigit():
        if word.endswith("s") and not word.endswith("ss") and word not in ("features", "blocks"):
            return _camel(word[:-1])
        places = {submodule.path[-1] for submodule in block.inside}
        kind = next((word.capitalize() for word in ("downsample", "shortcut") if word in places), "Residual")
        return f"{kind}Block" if any(" + " in statement.text for statement in block.body) else "Block"
    return _camel(word)


def _camel(word: str) -> str:
    name = "".join(piece[:1].upper() + piece[1:] for piece in word.split("_") if piece)
    return name if len(name) > 2 and name not in reserved() else f"{name}Block"
