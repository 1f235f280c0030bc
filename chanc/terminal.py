"""Text for a terminal. Names of a model are a stranger's text: what would steer a terminal shows as \\xNN."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` without control characters and marks of direction; those, and line ends, show as \\xNN."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
