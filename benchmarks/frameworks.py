"""The whole road from each framework, and its table in docs/coverage.md.

    python benchmarks/frameworks.py                          all of them, each framework in a virtual environment
    python benchmarks/frameworks.py --only 'keras*' --venvs FOLDER

A small ResNet of each framework (of scikit-learn a perceptron) is exported, analysed, rewritten to half and to one and
a half of its widths (and judged), trained for two epochs on scikit-learn's digits, compared with PyTorch as it is after
the training, and searched for three trials. A framework's packages go into FOLDER/NAME, a virtual environment that is
made where it is missing; what is there is used as it is. Rows go to `--rows`, the table into the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import coverage
import frameworks_page
import numpy as np
import torch

import chanc
from chanc.backends import ort
from chanc.data import load
from chanc.errors import ChancError
from chanc.files import atomic_write_text
from chanc.ir import to_proto

HERE = Path(__file__).parent
NETWORKS = HERE / "framework_networks"
PACKAGES = {
    "tensorflow": ["tensorflow-cpu==2.21.0", "keras==3.15.1", "tf2onnx==1.17.0"],
    "torch": ["torch==2.13.0", "transformers", "keras==3.15.1", "onnx", "onnxscript"],
    "jax": ["jax==0.10.2", "flax==0.12.8", "equinox==0.13.8", "jax2onnx==0.17.1", "keras==3.15.1"],
    "paddle": ["paddlepaddle==3.3.1", "paddle2onnx==2.1.0", "setuptools"],
    "sklearn": ["scikit-learn==1.9.1", "skl2onnx==1.20.0"],
}


@dataclass(frozen=True)
class Road:
    """What to export: a spec, the environment that has its framework ("" is chanc's own), and the input's shape.

    before: code that is run there first, with the network's folder as the working directory. plain: a
    perceptron, which has no convolutions and takes images as they are, neither moved nor mirrored.
    """

    spec: str
    home: str = ""
    shape: tuple[int, ...] = ()
    backend: str = ""
    before: str = ""
    plain: bool = False


NCHW, NHWC = (1, 1, 8, 8), (1, 8, 8, 1)
ROADS = {
    "torch": Road("torch:torch_resnet:resnet", shape=NCHW),
    "torch.export": Road("torch:torch_resnet:program", shape=(2, 1, 8, 8)),
    "keras-tensorflow": Road("keras:keras_resnet:resnet", "tensorflow", backend="tensorflow"),
    "keras-torch": Road("keras:keras_resnet:resnet", "torch", backend="torch"),
    "keras-jax": Road("keras:keras_resnet:resnet", "jax", backend="jax"),
    "SavedModel": Road("keras:{made}", "tensorflow", before="import keras_resnet; keras_resnet.saved_model('{made}')"),
    "tflite": Road("tflite:{made}.tflite", "tensorflow",
                   before="import keras_resnet; keras_resnet.tflite('{made}.tflite')"),
    "flax": Road("jax:flax_resnet:ResNet", "jax", NHWC),
    "equinox": Road("jax:equinox_resnet:resnet", "jax", NCHW),
    "paddle": Road("paddle:paddle_resnet:resnet", "paddle", NCHW),
    "transformers": Road("hf:{made}", "torch", NCHW,
                         before="import transformers_resnet; transformers_resnet.save('{made}')"),
    "scikit-learn": Road("sklearn:sklearn_mlp:mlp", "sklearn", NCHW, plain=True),
}  # fmt: skip


@dataclass
class Row:
    """What was found of one road; share: of the weights that may change. fault: where it ended, if it did."""

    name: str
    exporter: str = ""
    opset: int = 0
    params: int = 0
    difference: float = 0.0
    batch: str = ""
    norms: int = 0
    transposes: int = 0
    share: float = 0.0
    groups: str = ""
    half: Mapping[str, object] = field(default_factory=dict)
    widen: Mapping[str, object] = field(default_factory=dict)
    before: float = 0.0
    after: float = 0.0
    equal: float = 0.0
    trials: Sequence[float] = ()
    fault: str = ""


def walk(name: str, road: Road, venvs: Path, folder: Path) -> Row:
    """All steps of one road; an error of chanc ends it, and is its row's fault."""
    row, path = Row(name), folder / "model.onnx"
    try:
        exported(row, road, environment(road.home, venvs) if road.home else None, folder, path)
        described(row, path)
        rewritten(row, path)
        options: dict[str, Any] = {"batch_size": 32, "lr": 0.05, "device": "cpu"}
        options |= {"crop_padding": 0, "flip": False, "optimizer": "sgd"} if road.plain else {}
        trained(row, path, options)
        searched(row, path, folder, options, "shape" if road.plain else "greedy")
    except (ChancError, AssertionError, subprocess.CalledProcessError) as error:
        row.fault = f"{type(error).__name__}: {error}"
    return row


def environment(name: str, venvs: Path) -> str:
    """The interpreter of a virtual environment with a framework's packages, made where it is missing."""
    home = venvs / name
    if not (home / "bin" / "python").exists():
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *PACKAGES[name]], check=True)
    return str(home / "bin" / "python")


def exported(row: Row, road: Road, python: str | None, folder: Path, path: Path) -> None:
    """`chanc export`, from the folder of networks."""
    made = folder / "made"
    os.environ["KERAS_BACKEND"] = road.backend or "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.chdir(NETWORKS)
    if road.before:
        command = [python or sys.executable, "-c", road.before.format(made=made)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    shapes = [road.shape] if road.shape else []
    done = chanc.export(road.spec.format(made=made), path, shapes=shapes, python=python)
    row.exporter, row.opset, row.params = done.exporter, done.opset, done.params
    row.difference, row.batch = done.difference, str(next(iter(done.inputs.values()))[0])


def described(row: Row, path: Path) -> None:
    """What the analysis finds."""
    kinds = Counter(node.op_type for node in chanc.load(path).graph)
    row.norms, row.transposes = kinds["BatchNormalization"], kinds["Transpose"]
    found = coverage.Row(row.name, "frontends")
    coverage.describe(found, to_proto(chanc.load(path)))
    row.share = found.free_params / found.params
    row.groups = f"{found.free_groups} of {found.groups}"


def rewritten(row: Row, path: Path) -> None:
    """Half of the widths, and as much again, both judged."""
    model = to_proto(chanc.load(path))
    half, widen = coverage.Judged(), coverage.Judged()
    coverage.half(model, half)
    coverage.widen(model, widen)
    row.half, row.widen = asdict(half), asdict(widen)


def trained(row: Row, path: Path, options: Mapping[str, Any]) -> None:
    """Two epochs, and how far onnxruntime is from the trained network as PyTorch, on test images."""
    done = chanc.train(path, "digits", epochs=2, **options)
    row.before, row.after = done.before, done.top1
    model, images = to_proto(done.model), (load("digits").test_images / 255).astype(np.float32)
    feeds = {name: images[: len(like)].reshape(like.shape) for name, like in coverage.inputs_of(model, 64).items()}
    with tempfile.TemporaryDirectory() as folder:
        network = coverage.written(model, Path(folder), coverage.Emitted())
    row.equal = coverage.furthest(ort.run(model, feeds, exact=True), coverage.answers(network, feeds))


def searched(row: Row, path: Path, folder: Path, options: Mapping[str, Any], algo: str) -> None:
    """Three trials. The greedy search goes by convolutions, and a perceptron has none."""
    own = {"gamma": 0.8, "min_width": 4} if algo == "greedy" else {"target_params": "50%"}
    run = chanc.search(str(path), algo=algo, data="digits", trials=3, epochs=1, limit_train=400,
                       out=folder / "run", options=own, train=options)  # fmt: skip
    row.trials = [trial.score for trial in run.trials]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="roads of such a name")
    parser.add_argument("--venvs", type=Path, default=Path(".venvs"), help="where the frameworks are, or go")
    parser.add_argument("--rows", type=Path, default=frameworks_page.ROWS)
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "coverage.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    venvs, rows, page = args.venvs.resolve(), args.rows.resolve(), args.page.resolve()
    have = {row["name"]: row for row in frameworks_page.read(rows)}
    wanted = [name for name in ROADS if fnmatch(name, args.only)]
    if not wanted:
        parser.error(f"no road is like {args.only}: there are {', '.join(ROADS)}")
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            row = walk(name, ROADS[name], venvs, Path(folder))
        have[name] = asdict(row)
        found = [have[name] for name in ROADS if name in have]
        atomic_write_text(rows, "".join(f"{json.dumps(one)}\n" for one in found))
        atomic_write_text(page, frameworks_page.put(page.read_text(encoding="utf-8"), found))
        print(" | ".join(frameworks_page.cells(asdict(row))), row.fault, flush=True)
    if any(have[name]["fault"] for name in have):
        sys.exit(1)


if __name__ == "__main__":
    main()
