"""From statements to the lines of a `forward`: dead code goes, single uses are written in place, values get names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from chanc.backends.torch.program import TOKEN, Statement, tokens, value_token

_POOL = ("x", "y", "z", "u", "v", "w", "a", "b", "c", "d")
_LONGEST = 88
_DEEPEST = 4


def live(statements: list[Statement], outputs: Iterable[str]) -> list[Statement]:
    """The statements that reach an output."""
    needed = {vid for text in outputs for vid in tokens(text, "v")}
    kept = []
    for statement in reversed(statements):
        if needed.intersection(statement.targets):
            needed.update(statement.reads)
            kept.append(statement)
    return kept[::-1]


def inlined(statements: list[Statement], outputs: list[str], measure: Callable[[str], int]) -> list[Statement]:
    """Write a value that is read once, by the next statement, into that statement, while the line stays readable.

    Only neighbours are joined, so modules run in the order of the graph.
    """
    uses = Counter(vid for statement in statements for vid in statement.reads)
    uses.update(vid for text in outputs for vid in tokens(text, "v"))
    done: list[Statement] = []
    for statement in statements:
        current = Statement(list(statement.targets), statement.text, statement.compound, statement.inline)
        while done and _joins(done[-1], current, uses):
            inner = (
                f"({done[-1].text})"
                if done[-1].compound and not _is_argument(current.text, done[-1])
                else done[-1].text
            )
            text = current.text.replace(value_token(done[-1].targets[0]), inner)
            if measure(text) > _LONGEST or _depth(text) > _DEEPEST:
                break
            current.text = text
            done.pop()
        done.append(current)
    return done


def _joins(before: Statement, after: Statement, uses: Counter[int]) -> bool:
    if not before.inline or len(before.targets) != 1:
        return False
    target = before.targets[0]
    return uses[target] == 1 and after.reads.count(target) == 1


def _is_argument(text: str, before: Statement) -> bool:
    """Whether the value stands alone between brackets or commas, where no parentheses are needed."""
    token = value_token(before.targets[0])
    start = text.index(token)
    end = start + len(token)
    if start == 0 and end == len(text):
        return True
    return (start > 0 and text[start - 1] in "([" and text[end : end + 1] in "),]") or (
        text[:start].endswith(", ") and text[end : end + 1] in "),]"
    )


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        deepest = max(deepest, depth)
    return deepest


def local_names(
    statements: list[Statement], inputs: list[tuple[int, str]], outputs: list[str], hints: Mapping[int, str]
) -> dict[int, str]:
    """A name for every value; a result takes over the name of an operand that is not read any more."""
    last = {vid: index for index, statement in enumerate(statements) for vid in statement.reads}
    last.update({vid: len(statements) for text in outputs for vid in tokens(text, "v")})
    named = dict(inputs)
    alive = {vid: name for vid, name in inputs if last.get(vid, -1) >= 0}
    taken = set(alive.values())
    for index, statement in enumerate(statements):
        dying = [vid for vid in statement.reads if last.get(vid) == index]
        freed = [alive.pop(vid) for vid in dict.fromkeys(dying) if vid in alive]
        taken.difference_update(freed)
        for target in statement.targets:
            name = _choose(hints.get(target, ""), freed, taken)
            if last.get(target, -1) > index:
                named[target] = alive[target] = name
                taken.add(name)
            else:
                named[target] = "_"
    return named


def _choose(hint: str, freed: list[str], taken: set[str]) -> str:
    if hint:
        count = 1
        while (name := hint if count == 1 else f"{hint}{count}") in taken:
            count += 1
        return name
    for name in freed:
        if name in _POOL and name not in taken:
            freed.remove(name)
            return name
    return next(name for name in itertools.chain(_POOL, map("x{}".format, itertools.count(1))) if name not in taken)


def substitute(text: str, named: Mapping[int, str], module: Callable[[int], str]) -> str:
    """The text with every token replaced by its name."""
    return TOKEN.sub(lambda found: named[int(found[2])] if found[1] == "v" else module(int(found[2])), text)
