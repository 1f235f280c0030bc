"""Finds the blocks of a network: containers whose statements stand together become submodules with their own forward.

Containers are folded from the deepest up. A list (`layer1.0`, `layer1.1`, ...) that is a chain becomes nn.Sequential.
Any other container becomes a block if no foreign module is called between its first and its last call. What stands
between two blocks (an Add, a Relu, a Concat) goes to the block that gets the fewest values in and out by it; alike
blocks decide alike.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chanc.backends.torch.program import Program, Statement, Submodule, module_token, tokens, value_token

Path = tuple[str, ...]

# Functions of one tensor that nn.Sequential can hold as a module: text -> constructor
_AS_MODULE = [
    (re.compile(r"F\.relu\((\x00v\d+\x00)\)"), "nn.ReLU()"),
    (re.compile(r"F\.relu6\((\x00v\d+\x00)\)"), "nn.ReLU6()"),
    (re.compile(r"F\.silu\((\x00v\d+\x00)\)"), "nn.SiLU()"),
    (re.compile(r"F\.gelu\((\x00v\d+\x00)\)"), "nn.GELU()"),
    (re.compile(r"F\.hardswish\((\x00v\d+\x00)\)"), "nn.Hardswish()"),
    (re.compile(r"F\.hardsigmoid\((\x00v\d+\x00)\)"), "nn.Hardsigmoid()"),
    (re.compile(r"torch\.sigmoid\((\x00v\d+\x00)\)"), "nn.Sigmoid()"),
    (re.compile(r"F\.leaky_relu\((\x00v\d+\x00), ([-\d.e]+)\)"), "nn.LeakyReLU({0})"),
    (re.compile(r"F\.max_pool(\d)d\((\x00v\d+\x00), ([^\x00]*)\)"), "nn.MaxPool{0}d({1})"),
    (re.compile(r"F\.avg_pool(\d)d\((\x00v\d+\x00), ([^\x00]*)\)"), "nn.AvgPool{0}d({1})"),
    (re.compile(r"F\.dropout\((\x00v\d+\x00), ([\d.]+), self\.training\)"), "nn.Dropout({0})"),
    (re.compile(r"(\x00v\d+\x00)\.flatten\(1\)"), "nn.Flatten()"),
    (re.compile(r"(\x00v\d+\x00)\.permute\(([\d, ]+)\)"), ""),
]
_ACTIVATIONS = {
    "nn.ReLU()",
    "nn.ReLU6()",
    "nn.SiLU()",
    "nn.GELU()",
    "nn.Hardswish()",
    "nn.Hardsigmoid()",
    "nn.Sigmoid()",
}


def as_module(text: str) -> str:
    """The constructor of the module that computes a function of one tensor; empty where there is none."""
    for pattern, constructor in _AS_MODULE:
        found = pattern.fullmatch(text)
        if found and constructor:
            return constructor.format(*[group for group in found.groups() if "\0" not in group])
    return ""


@dataclass
class Block(Submodule):
    """A submodule that was folded out of statements: a class of its own, or nn.Sequential of `items`."""

    body: list[Statement] = field(default_factory=list)
    inside: list[Submodule] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    items: list[Submodule] = field(default_factory=list)
    """The children of a sequence, in order; parameterless ones fill the gaps between numbered ones."""


@dataclass
class Structure:
    """The statements of the network's own forward, and the submodules they call."""

    statements: list[Statement]
    submodules: dict[int, Submodule]


class _Folder:
    def __init__(self, program: Program, statements: list[Statement]) -> None:
        self.statements = statements
        called = {mid for s in statements for mid in s.calls} | {
            m for text in program.outputs for m in tokens(text, "m")
        }
        self.pinned = {mid for text in program.outputs for mid in tokens(text, "m")}
        self.submodules: dict[int, Submodule] = {m: s for m, s in program.submodules.items() if m in called}
        self.serial = max(program.submodules, default=0) + 1
        self.uses = Counter(vid for statement in statements for vid in statement.reads)
        """How often each value is read, outputs included; kept up as statements are folded."""
        self.uses.update(vid for text in program.outputs for vid in tokens(text, "v"))

    def run(self) -> Structure:
        depths = {len(submodule.path) for submodule in self.submodules.values()}
        for depth in range(max(depths, default=1) - 1, 0, -1):
            self._sequences(depth)
            containers = self._containers(depth)
            self._blocks({path: members for path, members in containers.items() if self._is_block(path, members)})
            self._sequences(depth)
        return Structure(self.statements, _in_order(self.statements, self.submodules.values()))

    def _containers(self, depth: int) -> dict[Path, list[Submodule]]:
        """The containers of a depth, and all that is below each."""
        found: dict[Path, list[Submodule]] = defaultdict(list)
        for submodule in self.submodules.values():
            if len(submodule.path) > depth:
                found[submodule.path[:depth]].append(submodule)
        return found

    def _is_block(self, path: Path, members: list[Submodule]) -> bool:
        named = not all(sub.path[len(path)].isdigit() for sub in members)
        return named and not any(sub.mid in self.pinned for sub in members)

    def _spans(self, containers: Mapping[Path, list[Submodule]]) -> dict[Path, tuple[int, int]]:
        """First and last statement of each container that is called, with no foreign module in between; in order."""
        home = {member.mid: path for path, members in containers.items() for member in members}
        places: dict[Path, list[int]] = defaultdict(list)
        for index, statement in enumerate(self.statements):
            for path in dict.fromkeys(home[mid] for mid in statement.calls if mid in home):
                places[path].append(index)

        def foreign(path: Path, found: list[int]) -> bool:
            between = (self.statements[index].calls for index in range(found[0], found[-1] + 1))
            return any(home.get(mid) != path for calls in between for mid in calls)

        return {path: (found[0], found[-1]) for path, found in places.items() if not foreign(path, found)}

    # Chains

    def _sequences(self, depth: int) -> None:
        """Fold the containers of a depth that are chains."""
        containers, gone = self._containers(depth), 0
        for path, (lo, hi) in self._spans(containers).items():
            before = len(self.statements)
            self._sequence(path, {member.mid: member for member in containers[path]}, lo - gone, hi - gone)
            gone += before - len(self.statements)

    def _sequence(self, path: Path, members: dict[int, Submodule], lo: int, hi: int) -> None:
        direct = all(len(sub.path) == len(path) + 1 and sub.path[-1].isdigit() for sub in members.values())
        if not direct or any(sub.cls in ("nn.Parameter", "nn.Buffer") for sub in members.values()):
            return
        run = self.statements[lo : hi + 1]
        items = self._chain(run, members)
        if items is None:
            return
        last, end = run[-1].targets[0], hi
        while end + 1 < len(self.statements) and self.uses[last] == 1 and self.statements[end + 1].reads == [last]:
            extra = as_module(self.statements[end + 1].text)
            if extra not in _ACTIVATIONS:
                break
            items.append(self._free(extra))
            end += 1
            last = self.statements[end].targets[0]
        if len(items) < 2:
            return
        block = Block(self._serial(), path, "nn.Sequential", [], items=items, inside=list(members.values()))
        self._replace(lo, end, block, [run[0].reads[0]], [last])

    def _chain(self, run: list[Statement], members: dict[int, Submodule]) -> list[Submodule] | None:
        items: list[Submodule] = []
        for index, statement in enumerate(run):
            if (
                len(statement.targets) != 1
                or len(statement.reads) != 1
                or (index and statement.reads[0] != run[index - 1].targets[0])
            ):
                return None
            if index and self.uses[statement.reads[0]] != 1:
                return None
            if statement.calls:
                submodule = members[statement.calls[0]]
                place = int(submodule.path[-1])
                if (
                    statement.text != f"{module_token(submodule.mid)}({value_token(statement.reads[0])})"
                    or len(items) > place
                ):
                    return None
                items += [self._free("nn.Identity()") for _ in range(place - len(items))]
                items.append(submodule)
            else:
                made = as_module(statement.text)
                if not made:
                    return None
                items.append(self._free(made))
        return items if len({id(item) for item in items}) == len(items) else None

    def _free(self, constructor: str) -> Submodule:
        return Submodule(
            -1, ("",), constructor.split("(")[0], [constructor.split("(", 1)[1][:-1]] if "()" not in constructor else []
        )

    # Blocks

    def _blocks(self, containers: Mapping[Path, list[Submodule]]) -> None:
        spans = self._spans(containers)
        order = list(spans)
        options = {path: self._options(spans[path]) for path in order}
        tails: dict[object, Counter[str]] = defaultdict(Counter)
        for path in order:
            tails[self._kind(spans[path][1], path)].update({tail for _, tail in options[path].values()})
        chosen: dict[Path, dict[tuple[int, int], tuple[str, str]]] = {}
        heads: dict[object, Counter[str]] = defaultdict(Counter)
        claimed = -1
        for path in order:
            kind = self._kind(spans[path][1], path)
            best = _favourite(tails[kind], {tail for _, tail in options[path].values()})
            chosen[path] = {k: v for k, v in options[path].items() if v[1] == best and k[0] > claimed}
            if chosen[path]:
                claimed = max(hi for _, hi in chosen[path])
            heads[self._kind(spans[path][0], path)].update({head for head, _ in chosen[path].values()})
        ranges: list[tuple[Path, tuple[int, int]]] = []
        for path in order:
            best = _favourite(heads[self._kind(spans[path][0], path)], {head for head, _ in chosen[path].values()})
            fitting = [span for span, (head, _) in chosen[path].items() if head == best]
            if fitting:
                ranges.append((path, fitting[0]))
        for path, (lo, hi) in reversed(ranges):
            self._fold(path, containers[path], lo, hi)

    def _kind(self, index: int, path: Path) -> object:
        mid = self.statements[index].calls[0]
        submodule = self.submodules[mid]
        return submodule.path[len(path) :], submodule.cls

    def _options(self, span: tuple[int, int]) -> dict[tuple[int, int], tuple[str, str]]:
        """(first, last) -> signatures of head and tail, for the extensions with the fewest values in and out."""
        lo, hi = span
        first, last = lo, hi
        while first > 0 and not self.statements[first - 1].calls and lo - first < 8:
            first -= 1
        while last + 1 < len(self.statements) and not self.statements[last + 1].calls and last - hi < 12:
            last += 1
        costs = {}
        for a in range(lo, first - 1, -1):
            for b in range(hi, last + 1):
                ins, outs = self._crossing(a, b)
                if len(outs) == 1:
                    costs[a, b] = len(ins) + len(outs) + self._open_shortcut(ins, outs[0], b)
        best = min(costs.values(), default=0)
        return {
            (a, b): (self._signature(a, lo), self._signature(hi + 1, b + 1))
            for (a, b), cost in costs.items()
            if cost == best
        }

    def _signature(self, start: int, end: int) -> str:
        return "|".join(re.sub(r"\x00v\d+\x00|\d+", "#", statement.text) for statement in self.statements[start:end])

    def _crossing(self, lo: int, hi: int) -> tuple[list[int], list[int]]:
        """Values that the run reads from outside, and its results that are read outside."""
        run = self.statements[lo : hi + 1]
        made = {vid for statement in run for vid in statement.targets}
        ins = dict.fromkeys(vid for statement in run for vid in statement.reads if vid not in made)
        here = Counter(vid for statement in run for vid in statement.reads)
        return list(ins), [vid for statement in run for vid in statement.targets if self.uses[vid] > here[vid]]

    def _open_shortcut(self, ins: list[int], out: int, hi: int) -> bool:
        """Whether what follows joins the result with a value that came in: a shortcut whose end is left outside."""
        return any(out in s.reads and set(ins).intersection(s.reads) for s in self.statements[hi + 1 : hi + 8])

    def _fold(self, path: Path, members: list[Submodule], lo: int, hi: int) -> None:
        ins, outs = self._crossing(lo, hi)
        if len(outs) != 1 or not ins:
            return
        block = Block(
            self._serial(), path, "", [], body=self.statements[lo : hi + 1], inside=members, inputs=ins, outputs=outs
        )  # fmt: skip
        self._replace(lo, hi, block, ins, outs)

    def _replace(self, lo: int, hi: int, block: Block, ins: list[int], outs: list[int]) -> None:
        called = _in_order(block.body or self.statements[lo : hi + 1], block.inside)
        block.inside = list(called.values())
        for member in block.inside:
            del self.submodules[member.mid]
        self.submodules[block.mid] = block
        call = f"{module_token(block.mid)}({', '.join(value_token(vid) for vid in ins)})"
        folded = Statement(list(outs), call)
        for statement in self.statements[lo : hi + 1]:
            self.uses.subtract(statement.reads)
        self.uses.update(folded.reads)
        self.statements[lo : hi + 1] = [folded]

    def _serial(self) -> int:
        self.serial += 1
        return self.serial


def _in_order(statements: list[Statement], submodules: Iterable[Submodule]) -> dict[int, Submodule]:
    """The submodules in the order of their first calls."""
    order: dict[int, int] = {}
    for statement in statements:
        for mid in statement.calls:
            order.setdefault(mid, len(order))
    ordered = sorted(submodules, key=lambda submodule: order.get(submodule.mid, len(order)))
    return {submodule.mid: submodule for submodule in ordered}


def _favourite(votes: Counter[str], allowed: set[str]) -> str | None:
    """The signature that most blocks can have; of several the longest, and the shortest where a block is alone."""
    if not allowed:
        return None
    most = max(votes[signature] for signature in allowed)
    best = [signature for signature in allowed if votes[signature] == most]
    pick = min if most == 1 else max
    return pick(best, key=lambda signature: (signature.count("|") + bool(signature), signature))


def fold_blocks(program: Program, statements: list[Statement]) -> Structure:
    """Fold the live statements of a program into blocks."""
    return _Folder(program, list(statements)).run()
