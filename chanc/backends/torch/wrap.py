"""Breaks long lines as a formatter does: at the brackets' commas, one element a line, with a trailing comma."""

from __future__ import annotations

WIDTH = 120
_OPEN, _CLOSE = "([{", ")]}"


def wrap(line: str, comment: str = "") -> list[str]:
    """The line with its comment, broken where it is longer than `WIDTH`; an unbreakable line stays long."""
    if len(line) <= WIDTH:
        full = f"{line}  # {comment}" if comment else line
        return [full] if len(full) <= WIDTH else [line]
    spot = _last_group(line)
    if spot is None:
        return [line]
    start, end = spot
    indent = line[: len(line) - len(line.lstrip())]
    parts = split_commas(line[start + 1 : end])
    inner = f"{indent}    " + ", ".join(parts)
    single = len(parts) == 1
    tail = line[end:]
    grouping = line[start] == "(" and single and not _is_call(line, start)
    if len(inner) <= WIDTH and line[start] == "(" and (grouping or _is_call(line, start)):
        return [line[: start + 1], inner, *wrap(indent + tail)]
    if grouping:
        return [line[: start + 1], *wrap(f"{indent}    {parts[0]}"), *wrap(indent + tail)]
    lines = [line[: start + 1]]
    for part in parts:
        starred = part.startswith("**")
        lines += wrap(f"{indent}    {part}" + ("" if single and (" for " in part or starred) else ","))
    return [*lines, indent + tail]


def _is_call(line: str, start: int) -> bool:
    """Whether the bracket follows a name: else a single element in it must not get a comma, which makes a tuple."""
    return start > 0 and (line[start - 1].isalnum() or line[start - 1] in "_])")


def _last_group(line: str) -> tuple[int, int] | None:
    """The longest outermost bracket pair: what a formatter would open first."""
    depth, start, best = 0, -1, None
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote and line[index - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in _OPEN:
            start = index if depth == 0 else start
            depth += 1
        elif char in _CLOSE:
            depth -= 1
            if depth == 0 and index > start + 1 and (best is None or index - start >= best[1] - best[0]):
                best = (start, index)
    return best


def split_commas(text: str) -> list[str]:
    """The elements between top-level commas."""
    parts, depth, current, quote = [], 0, "", ""
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[index - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(current.strip())
            current = ""
            continue
        current += char
    return [*parts, current.strip()] if current.strip() else parts
