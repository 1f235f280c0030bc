"""The command line: one file a command, imported when it is called, so that `chanc --help` is instant."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from io import StringIO

import click

from chanc import __version__
from chanc.cli.outputs import say
from chanc.cli.sympy_later import sympy_later
from chanc.errors import ChancError

# command: (module, one line for --help)
COMMANDS = {
    "analyze": ("chanc.cli.analyze", "Find the channel groups of a model: which widths must change together."),
    "rewrite": ("chanc.cli.rewrite", "Make widths smaller or larger, the trained weights carried over."),
    "prune": ("chanc.cli.prune", "Bring a model under a budget, and back to what it did: no training code needed."),
    "verify": ("chanc.cli.verify", "Check a rewritten model against the one it came from."),
    "eval": ("chanc.cli.eval", "Score a model in onnxruntime, or tell how far two models agree."),
    "latency": ("chanc.cli.latency", "Time a model in onnxruntime, or two of them in turn."),
    "search": ("chanc.cli.search", "Search for the best widths by training trials."),
    "sweep": ("chanc.cli.sweep", "Search over methods, settings and seeds; killed and resumed at will."),
    "train": ("chanc.cli.train", "Train a model's weights and write them back into its graph."),
    "codegen": ("chanc.cli.codegen", "Write a model as readable, trainable PyTorch source."),
    "export": ("chanc.cli.export", "Make an ONNX model from the zoo or from a PyTorch factory."),
    "report": ("chanc.cli.report", "Draw the report of a search run again."),
    "fsck": ("chanc.cli.fsck", "Check what a search, a sweep or a training left on disk, and mend it."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The command names, in the order of the way of the data."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="chanc")
def cli() -> None:
    """A compiler for the channel sizes (widths) of convolutional networks.

    \b
    chanc analyze model.onnx --deps                        which widths must change together
    chanc rewrite model.onnx -o small.onnx --scale 0.5     half the widths, weights carried over
    chanc search model.onnx --algo greedy --data cifar10   find the best widths by training trials
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 a user's error or a refused model, 2 wrong usage."""
    sympy_later()
    try:
        cli.main(args=None if args is None else list(args), prog_name="chanc", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            say(line, err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ChancError as error:
        say(f"chanc: {error}", err=True)
        sys.exit(1)
    except MemoryError:
        say("chanc: there is not enough memory for that", err=True)
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"chanc: {where}{error.strerror or error}", err=True)
        sys.exit(1)
