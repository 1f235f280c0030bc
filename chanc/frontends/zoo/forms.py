"""Forms of a network: `zoo:NAME:cells=3,f=8` is NAME with other numbers in it than the published ones."""

from __future__ import annotations

from collections.abc import Mapping

from chanc.errors import ChancError


def form(name: str, published: Mapping[str, int]) -> dict[str, int]:
    """The numbers of a network by its name: those that stand behind the colon, else the published ones.

    Raises ChancError for a number that the network doesn't have, or one that is no number from 1 up.
    """
    network, _, words = name.partition(":")
    found = dict(published)
    for word in words.split(",") if words else ():
        key, _, value = word.partition("=")
        if key not in published or not value.isdecimal() or int(value) < 1:
            raise ChancError(f"{network}:{word} is no form of {network}: give {', '.join(published)} from 1 up, "
                             f"as in {network}:{_example(published)}")  # fmt: skip
        found[key] = int(value)
    return found


def _example(published: Mapping[str, int]) -> str:
    return ",".join(f"{key}={value}" for key, value in list(published.items())[:2])
