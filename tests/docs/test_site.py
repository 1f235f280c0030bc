"""The pages of the site: links and anchors lead somewhere, each page is in the navigation, each option exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from chanc.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "index.md"
SITE = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/results/*.md"), ROOT / "CONTRIBUTING.md",
               ROOT / "CHANGELOG.md"])  # fmt: skip
WRITTEN = [page for page in [*SITE, ROOT / "README.md"]
           if page.name != "CHANGELOG.md" and not {"results", "extending"} & set(page.parts)]  # fmt: skip
"""Pages whose options are chanc's own, and of today."""
OTHERS = {"--again", "--help"}
"""Options of a benchmark that a text names alone, and of every command."""


def prose(page: Path) -> str:
    """The text without blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """What can follow a # in a link to the page, as GitHub and the site make it of headings."""
    heads = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    yield from re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)


@pytest.mark.parametrize("page", [*SITE, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def entries(page: Path) -> Iterator[Path]:
    """The pages of a page's tables of contents, theirs too."""
    for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in (line for line in tree.splitlines() if line and not line.startswith(":")):
            found = sorted(page.parent.glob(f"{line}.md")) if "*" in line else [page.parent / f"{line}.md"]
            for entry in found:
                assert entry.exists(), entry
                yield entry.resolve()
                yield from entries(entry)


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted([INDEX, *entries(INDEX)]) == SITE


@cache
def options(name: str) -> set[str]:
    """All that a command takes."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None, name
    words = (word for param in command.get_params(context) for word in (*param.opts, *param.secondary_opts))
    return {word for word in words if word.startswith("-")}


def test_every_option_exists() -> None:
    """In lines that begin with chanc, and wherever options stand alone as code; other programs have their own."""
    everywhere = set().union(*map(options, cli.list_commands(click.Context(cli)))) | OTHERS
    named = 0
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        typed = re.findall(r"`([^`\n]+)`", text) + [line.strip() for line in text.splitlines()]
        for code in (code for code in typed if re.match(r"--|(?:\$ )?(?:[A-Z_]+=\S+ )*chanc [a-z]+ ", code)):
            command = re.search(r"chanc ([a-z]+) ", code)
            known = options(command[1]) | OTHERS if command and command[1] in COMMANDS else everywhere
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", re.sub(r"`[^`]*`", "", code)):
                assert option in known, (page.name, code, option)
                named += 1
    assert named > 300


def test_every_command_can_be_typed() -> None:
    """Its options have values that they take; what it names needn't be there."""
    typed = 0
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, rest in re.findall(r"^(?: {4}|\$ )(?:[A-Z_]+=\S+ )*chanc ([a-z]+) (.*)", text, re.MULTILINE):
            command = cli.get_command(click.Context(cli), name)
            assert command is not None, (page.name, name)
            command.make_context(name, shlex.split(re.split(r"  +| #", rest)[0]))  # a word on it follows two spaces
            typed += 1
    assert typed > 70


def test_the_page_of_the_command_line_has_every_option() -> None:
    spec = importlib.util.spec_from_file_location("command_line", ROOT / "docs" / "command_line.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    for name in cli.list_commands(click.Context(cli)):
        terms = " ".join(re.findall(r"^`(-.*)`\n: ", page.help_of(name), re.MULTILINE))
        assert options(name) - {"-h"} <= set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z0-9-]*", terms)), name


def test_the_floors_of_contributing_are_those_that_are_checked() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    floors = [set(re.split(r" [|:] ", layer)) for layer in tools["importlinter"]["contracts"][0]["layers"]]
    rows = re.findall(r"^\| (`.*?) \| \S", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == floors
