"""`chanc latency`: how long a model takes in onnxruntime, and how long another one takes beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import inputs_option
from chanc.cli.outputs import json_option, refuse_early, say, short_names, show_table, write_json
from chanc.cli.share_done import share_done
from chanc.cli.sizes import size_options

if TYPE_CHECKING:
    from chanc.backends.ort import Latency
    from chanc.measuring.timing import Shapes, Timed


@click.command("latency")
@click.argument("model")
@click.argument("other", required=False)
@click.option("--providers", default="cpu", show_default=True, metavar="NAME,...",
              help="Execution providers of onnxruntime, each measured on its own: cpu, cuda, ...")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Threads inside an operator. [onnxruntime's choice]")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Size of an open batch axis. [1]")
@click.option("--repeats", type=click.IntRange(1), metavar="N", help="Timed runs of each model. [50 without --seconds]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
              help="Stop after so many seconds of timed runs, though not under three of each.")  # fmt: skip
@inputs_option
@size_options
@json_option
def command(
    model: str,
    other: str | None,
    providers: str,
    threads: int | None,
    batch: int | None,
    repeats: int | None,
    seconds: float | None,
    inputs: str | None,
    json_file: str | None,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
) -> None:
    """Time MODEL in onnxruntime: milliseconds of a run, the median and the 10th and 90th percentile.

    \b
    chanc latency model.onnx
    chanc latency model.onnx small.onnx                     both by turns, and their ratio
    chanc latency model.onnx --threads 1 --batch 8
    chanc latency model.onnx --providers cpu,cuda --seconds 10
    chanc latency speech.onnx --dim T=400 --json - | jq

    With OTHER the two run in turn, so that what slows the machine slows both; the ratio is that of each turn, OTHER's
    time over MODEL's. Inputs are made up unless --inputs has them. A few runs before the first timed one warm up.
    """
    from chanc.api import latency
    from chanc.backends.ort import read_feeds

    if batch is not None and inputs is not None:
        raise click.UsageError("--batch is for made-up inputs, those of --inputs have one")
    if json_file != "-":
        refuse_early(json_file, model, other, inputs, force=None)
    with share_done("timing") as tell:
        found = latency(
            model, other, providers=[name.strip() for name in providers.split(",") if name.strip()], batch=batch,
            threads=threads or 0, repeats=repeats, seconds=seconds, dims=dims, shapes=shapes, on_turn=tell,
            feeds=read_feeds(inputs, model) if inputs is not None else None,
        )  # fmt: skip
    names = [model] if other is None else [model, other]
    if json_file is not None and write_json(to_json(found, names, threads), json_file):
        return
    names = short_names(names)
    heads = ("ms a run", "provider", "inputs", "median", "p10", "p90", "runs", *(["ratio"] if other else []))
    show_table(heads, _rows(found, names))
    for one in found:
        if one.ratio is not None:
            say(_verdict(one, names))


def to_json(found: Sequence[Timed], names: Sequence[str], threads: int | None) -> dict[str, Any]:
    """The content of `--json` (format 1): milliseconds; threads are null where onnxruntime chose them."""
    models = [
        {
            "model": name, "provider": of.provider, "inputs": {key: list(shape) for key, shape in shapes.items()},
            "median_ms": of.median_s * 1e3, "p10_ms": of.p10_s * 1e3, "p90_ms": of.p90_s * 1e3, "runs": of.runs,
        }
        for one in found
        for name, of, shapes in _each(one, names)
    ]  # fmt: skip
    ratios = [{"provider": one.latency.provider, **asdict(one.ratio)} for one in found if one.ratio is not None]
    return {"format": 1, "threads": threads, "latencies": models, "ratios": ratios}


def _each(one: Timed, names: Sequence[str]) -> Iterator[tuple[str, Latency, Shapes]]:
    yield names[0], one.latency, one.shapes
    if one.other is not None:
        yield names[1], one.other, one.other_shapes or {}


def _rows(found: Sequence[Timed], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for one in found:
        for place, (name, of, shapes) in enumerate(_each(one, names)):
            times = (f"{seconds * 1e3:.4g}" for seconds in (of.median_s, of.p10_s, of.p90_s))
            share = () if one.ratio is None else (f"{one.ratio.median:.3f}" if place else "1",)
            yield name, _short(of), _shapes(shapes), *times, str(of.runs), *share


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return " ".join("x".join(map(str, shape)) or "scalar" for shape in shapes.values())


def _verdict(one: Timed, names: Sequence[str]) -> str:
    ratio = one.ratio
    assert ratio is not None
    spread = f"p10 {ratio.p10:.3f}, p90 {ratio.p90:.3f}, faster in {ratio.faster} of {ratio.turns} turns"
    doubt = "" if ratio.told else ": which of them is faster can't be told"
    return f"{_short(one.latency)}: {names[1]} takes {ratio.median:.3f} times as long as {names[0]} ({spread}){doubt}"


def _short(of: Latency) -> str:
    return of.provider.removesuffix("ExecutionProvider").lower()
