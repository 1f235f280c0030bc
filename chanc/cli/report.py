"""chanc report: draw the report of a search run again, several runs in one picture, and pictures as files."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from chanc.cli.outputs import say


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--html", "target", type=click.Path(path_type=Path),
              help="The page to write [RUN/report.html; pareto.html for several runs].")  # fmt: skip
@click.option("--png", metavar="FOLDER", type=click.Path(path_type=Path), help="Also write each picture as PNG.")
@click.option("--svg", metavar="FOLDER", type=click.Path(path_type=Path), help="Also write each picture as SVG.")
@click.option("--pdf", metavar="FOLDER", type=click.Path(path_type=Path), help="Also write each picture as PDF.")
@click.option("--open", "show", type=click.Choice(["yes", "no"]), default="no", help="Open the page in a browser (no).")
def command(runs: tuple[Path, ...], target: Path | None, show: str, **folders: Path | None) -> None:
    """Write RUN/report.html, one page that needs nothing else; RUN is the directory of a search or of a sweep.

    \b
    Examples:
      chanc report runs/r34 --png pictures
      chanc report runs/r34 --pdf figures                  as vectors: for a paper
      chanc report runs/greedy runs/sa runs/evolve --html pareto.html

    Several runs come into one picture: the accuracy of what they found, and of its rivals, against params and MACs.
    """
    from chanc.report.pareto import write_pareto, write_pareto_images
    from chanc.report.run import write_images, write_report

    several = len(runs) > 1
    page = write_pareto(runs, target or Path("pareto.html")) if several else write_report(runs[0], target)
    say(f"wrote {page}")
    for kind, folder in folders.items():
        if folder is not None:
            pictures = write_pareto_images(runs, folder, kind) if several else write_images(runs[0], folder, kind)
            say(f"wrote {len(pictures)} pictures into {folder}")
    if show == "yes":
        webbrowser.open(page.resolve().as_uri())
