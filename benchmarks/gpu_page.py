"""The page of benchmarks/gpu.py, made of what its parts have left so far."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]

LOOPS = {
    "twin": "hand-written, one batch",
    "generated": "generated, one batch",
    "control": "a copy of the hand-written, one batch",
    "augmented": "generated, shuffled and augmented batches",
    "images alone": "batches alone, no network",
}


def page(results: Result) -> str:
    """Markdown: what it ran on, and a section a part, whether it was run, failed, or left out."""
    about = results["about"]
    lines = ["# chanc on a GPU" if not about["tiny"] else "# chanc on a GPU, the small form of it", "", *_about(about)]
    for name, (title, write) in SECTIONS.items():
        lines += ["", f"## {title}", ""]
        result = results.get(name)
        if result is None:
            lines.append("Not run.")
        elif (why := result.get("failed") or result.get("skipped")) is not None:
            lines.append(f"{'Failed' if 'failed' in result else 'Left out'}: {why}.")
        else:
            lines += write(result)
        if result is not None and "took_s" in result:
            lines += ["", f"Took {result['took_s']:.0f} s of {60 * about['minutes'][name]:.0f}."]
    return "\n".join(lines) + "\n"


def _about(about: Result) -> list[str]:
    names = ("chanc", "torch", "cuda", "cudnn", "python")
    versions = ", ".join(f"{name} {about[name]}" for name in names if about[name])
    made_up = "made-up images in the place of CIFAR-10: speeds count, accuracies don't"
    images = "CIFAR-10" if about["data"] == "cifar10" else made_up
    return [f"{about['device']}, {about['precision']}; {versions}; {images}.", "",
            f"Command: `python {about['command']}`"]  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines]


def _network(result: Result) -> str:
    return f"{result['network']}, {'published widths' if result['width'] is None else 'width ' + str(result['width'])}"


def _steps(result: Result) -> list[str]:
    rates, twin = result["steps_per_s"], result["steps_per_s"]["twin"]
    rows = [(text, f"{rates[name]:.1f}", f"{rates[name] * result['batch']:,.0f}", f"{rates[name] / twin:.3f}",
             f"{min(result['rounds'][name]):.1f} to {max(result['rounds'][name]):.1f}")
            for name, text in LOOPS.items()]  # fmt: skip
    return [
        f"{_network(result)}, batches of {result['batch']}, SGD with momentum; the median of "
        f"{len(result['rounds']['twin'])} round(s) that take the loops in turn.",
        "",
        *_table(("", "steps / s", "images / s", "of the hand-written", "rounds"), rows),
    ]


def _evbmf(result: Result) -> list[str]:
    rows = [(kind, one["layers"], f"{one['seconds']['device'] * 1e3:.1f}", f"{one['seconds']['cpu'] * 1e3:.1f}",
             one["layers_of_other_ranks"]) for kind, one in _parts(result).items()]  # fmt: skip
    return [
        "Rank, condition and QC of all convolutions in both modes; once an epoch in a search.",
        "",
        *_table(("", "layers", "weights on the device, ms", "on the CPU, ms", "layers of other ranks"), rows),
    ]


def _search(result: Result) -> list[str]:
    trials = result["trials"]
    if not trials:
        return ["No trial fitted into the time."]
    whole = [sum(trial["seconds"].values()) for trial in trials]
    beside = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in list(result["beside"].items())[:4])
    rows = [(number + 1, f"{trial['params']:,}", f"{trial['macs'] / 1e6:.0f}M",
             f"{trial['score']:.2%}" if result["counts"] else "-", f"{seconds:.1f}")
            for number, (trial, seconds) in enumerate(zip(trials, whole, strict=True))]  # fmt: skip
    return [
        f"{result['network']}, gamma {result['gamma']}, widths in multiples of {result['round_to']}: {len(trials)} of "
        f"{result['wanted']} trials, the median took {statistics.median(whole):.1f} s; "
        f"{result['share_beside_training']:.1%} of the time lay beside training ({beside}).",
        "",
        *_table(("trial", "params", "MACs", "held-out top-1", "seconds"), rows),
    ]


def _finals(result: Result) -> list[str]:
    rows = [(name, f"{one['params']:,}", f"{one['macs'] / 1e6:.0f}M", *_ended(one))
            for name, one in result["networks"].items()]  # fmt: skip
    return [
        f"From fresh weights, batches of {result['batch']}, one training each, all at once: a single seed shows no",
        "spread, so a small difference says nothing.",
        "",
        *_table(("network", "params", "MACs", "epochs", "test top-1", "seconds"), rows),
    ]


def _ended(one: Result) -> tuple[str, str, str]:
    epochs = one.get("epochs")
    if epochs is None:
        return "at work", "-", "-"
    done = f"{len(epochs)} of {one['of']}" + (f": {one['failed']}" if one["failed"] else "")
    return (done, f"{epochs[-1]['score']:.2%}", f"{epochs[-1]['at']:.0f}") if epochs else (done, "-", "-")


def _parts(result: Result) -> dict[str, Any]:
    return {name: one for name, one in result.items() if isinstance(one, dict)}


def _masking(result: Result) -> list[str]:
    methods = result["methods"]
    if not methods:
        return ["No search fitted into the time."]
    rows = [(name, f"{one['params']:,}", f"{one['macs'] / 1e6:.0f}M", f"{one['images'] / one['seconds']['train']:,.0f}",
             f"{one['images'] / one['plain_s']:,.0f}", f"{one['seconds']['train'] / one['plain_s'] - 1:+.1%}",
             f"{one['seconds']['resize'] * 1e3:.0f}", f"{one['peak_bytes'] / 2**20:,.0f}" if one["peak_bytes"] else "-")
            for name, one in methods.items()]  # fmt: skip
    return [
        f"{_network(result)}, batches of {result['batch']}, half the steps of the weights and half of the masks; "
        "params and MACs are those of the widest network, and its plain training takes as many images. On a CPU the "
        "memory is that above the largest before, and none is told of a search that stays below.",
        "",
        *_table(("method", "params", "MACs", "images / s", "plain, images / s", "masks cost", "resizing, ms",
                 "peak memory, MiB"), rows),
        *_ratios(methods),
    ]  # fmt: skip


def _ratios(methods: Mapping[str, Any]) -> list[str]:
    if not {"flexcharts", "dmask"} <= methods.keys():
        return []
    flex, dmask = methods["flexcharts"], methods["dmask"]
    time = (dmask["seconds"]["train"] / dmask["images"]) / (flex["seconds"]["train"] / flex["images"])
    peaks = [one["peak_bytes"] for one in (dmask, flex)]
    memory = f", {peaks[0] / peaks[1]:.2f} of the memory" if all(peaks) else ""
    return ["", f"dmask over flexcharts: {time:.2f} of the time of an image{memory}."]


SECTIONS: dict[str, tuple[str, Callable[[Result], list[str]]]] = {
    "steps": ("Training steps: generated and hand-written", _steps),
    "evbmf": ("Measuring layers", _evbmf),
    "search": ("A greedy search", _search),
    "finals": ("Found, uniform and flat networks", _finals),
    "masking": ("Widths inside one training", _masking),
}
