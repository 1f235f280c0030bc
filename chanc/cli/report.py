"""chanc report: draw the report of a search run again, and its pictures as files."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from chanc.cli.outputs import say


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--png", "folder", type=click.Path(path_type=Path), help="Also write each picture as PNG into this folder."
)
@click.option("--open", "show", type=click.Choice(["yes", "no"]), default="no", help="Open the page in a browser (no).")
def command(run: Path, folder: Path | None, show: str) -> None:
    """Write RUN/report.html, one page that needs nothing else; RUN is the directory of a search or of a sweep."""
    from chanc.report.run import write_images, write_report

    page = write_report(run)
    say(f"wrote {page}")
    if folder is not None:
        pictures = write_images(run, folder)
        say(f"wrote {len(pictures)} pictures into {folder}")
    if show == "yes":
        webbrowser.open(page.resolve().as_uri())
