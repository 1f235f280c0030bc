"""The page of `prune_real.py`: how far each model agrees with its original at each stage, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prune_real import BATCH, REPEATS, ROWS, SEED, SHARE

from chanc.pruning import STAGES

Line = Mapping[str, Any]
MADE = {
    "directions": "rendered text lines, half of them upside down, 3x48x192",
    "pages": "rendered and scanned pages, 3x128x128",
    "scenes": "photographs with faces pasted in, 64x64x3",
    "faces-24": "faces and pieces of photographs, 24x24x3",
    "faces-48": "faces and pieces of photographs, 48x48x3",
    "speech-mel": "mel spectra of synthesised speech, 76x32x1",
    "speech-chunks": "synthesised speech, twelve chunks of 32 ms a sample",
}


def page(lines: Mapping[str, Line]) -> str:
    """The whole page, as markdown; rows in the order of ROWS."""
    there = {name: lines[name] for name in ROWS if name in lines}
    parts = [_head(), _agreements(there), _outputs(there), _costs(there), *_picked(there), *_left(there)]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    return "\n\n".join([
        "# Models that others have trained, at half of their MACs",
        "`python benchmarks/prune_real.py --models FOLDER`",
        f"FOLDER holds trained models as PyPI packages of their names ship them: {', '.join(_files())}. No label and "
        "no training code is used: `chanc prune` takes evidence, cuts, refits and distils on inputs that "
        "`benchmarks/real_inputs.py` makes, preprocessed as each model is documented for; it is judged on others, with "
        "other photographs, faces and texts.",
        f"Seed {SEED} of inputs and training, one of each, so that nothing here says how far seeds differ; one step, "
        f"AdamW, batches of {BATCH}, one thread. Budget: {SHARE} of the MACs. Agreement is the score of the task "
        "`distillation`: of classes the share of the same top class, of other outputs 1 - mean (s - t)^2 / var t, at "
        "best 1 and below 0 where the mean would say more; the mean over the outputs.",
        "*undone*: the training left the model worse, so that the refitted one is kept; that is told by the samples "
        "that it is judged by. Reduced for two busy cores: few samples, seconds of training.",
    ])  # fmt: skip


def _files() -> list[str]:
    return list(dict.fromkeys(f"`{row.file}`" for row in ROWS.values()))


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _agreements(lines: Mapping[str, Line]) -> str:
    rows = []
    for name, line in lines.items():
        row = ROWS[name]
        stages = [_number(line["agreement"].get(stage)) or "undone" for stage in STAGES]
        rows.append([name, MADE[row.kind], f"{row.samples[0]} / {row.samples[1]}", str(row.epochs), *stages])
    head = ["model", "inputs", "learned from / judged by", "epochs", "cut", "refitted in closed form", "distilled"]
    return "## Agreement with the original\n\n" + _table(head, rows)


def _outputs(lines: Mapping[str, Line]) -> str:
    rows = [
        [name, f"`{output}`", _number(relative), _number(correlation), _number(same)]
        for name, line in lines.items() for output, relative, correlation, same in line["outputs"]
    ]  # fmt: skip
    text = "In onnxruntime, on the inputs that are judged by: the error's norm over the output's, and the correlation."
    head = ["model", "output", "relative error", "correlation", "same top class"]
    return "\n\n".join(["## Outputs of the distilled model", text, _table(head, rows)])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _costs(lines: Mapping[str, Line]) -> str:
    rows = []
    for name, line in lines.items():
        (macs, less), (params, fewer), (slow, fast) = line["macs"], line["params"], line["ms"]
        middle, faster, turns = line["ratio"]
        rows.append([name, f"{macs / 1e6:.2f}M → {less / 1e6:.2f}M", f"{params / 1e3:.0f}k → {fewer / 1e3:.0f}k",
                     f"{slow:.2f} → {fast:.2f}", f"{middle:.2f}", f"{faster} of {turns}", f"{line['cpu_s']:.0f}",
                     f"{line['mb']:,}"])  # fmt: skip
    text = (f"Latency in onnxruntime on one sample, one thread, both models in turn, {REPEATS} turns, on a machine "
            "that others used as well: what the fastest tenth of the runs took, the median ratio of a turn, and in how "
            "many turns the pruned model was the faster one. CPU seconds and memory are those of the whole process, "
            "with the making of inputs.")  # fmt: skip
    head = ["model", "MACs", "params", "ms", "ratio", "faster in", "CPU s", "MB"]
    return "\n\n".join(["## Costs", text, _table(head, rows)])


def _picked(lines: Mapping[str, Line]) -> list[str]:
    found = [
        f"`{name}` ends in decoding and NonMaxSuppression, for one picture at a time: it is refitted and distilled in "
        f"front of that, and runs whole in onnxruntime. On {ROWS[name].samples[1]} pictures the original picks "
        f"{line['picked'][0]} boxes, the pruned one {line['picked'][1]}; {line['picked'][2]} of the original's have "
        "one of the pruned one's at the same place (intersection over union of a half or more)."
        for name, line in lines.items() if line["picked"]
    ]  # fmt: skip
    return ["## With decoding and NMS in the graph", *found] if found else []


def _left(lines: Mapping[str, Line]) -> list[str]:
    found = [f"- {name}: `{group}`: {why}" for name, line in lines.items() for group, why in line["left"].items()]
    return ["## Groups that were left alone", "\n".join(found)] if found else []
