"""The command line as Markdown, from what `chanc COMMAND --help` says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from chanc.cli import cli


class Markdown(click.HelpFormatter):
    """Writes a command's help as Markdown: a heading a section, its options below, examples as they are typed."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """How it is called."""
        self.write(f"```text\n{prog} {args}\n```\n\n")

    def write_text(self, text: str) -> None:
        """Paragraphs; one that begins with a backspace keeps its lines."""
        for part in re.split(r"\n\s*\n", text):
            if part.lstrip().startswith("\b"):
                self.write(f"```text\n{part.replace(chr(8), '').strip(chr(10))}\n```\n\n")
            else:
                self.write(f"{_escaped(' '.join(part.split()))}\n\n")

    def write_heading(self, heading: str) -> None:
        """A section's head."""
        self.write(f"### {heading}\n\n")

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """A section under its head."""
        self.write_heading(name)
        yield

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """A term and what it means."""
        for option, text in rows:
            self.write(f"`{option}`\n: {_escaped(text)}\n\n")


def commands() -> str:
    """A section for each command."""
    return "".join(f"\n## chanc {name}\n\n{help_of(name)}" for name in cli.list_commands(click.Context(cli)))


def help_of(name: str) -> str:
    """What a command's help says."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    with click.Context(command, info_name=f"chanc {name}") as context:
        formatter = Markdown(width=1000)
        command.format_help(context, formatter)
    return formatter.getvalue()


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is; what stands between backticks is code already."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for part in parts)
