"""A folder of plain PyTorch: model.py, model.safetensors and check.py, none of which needs chanc."""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir

from chanc import plugins
from chanc.backends.torch.build import Source, emit, state_dict
from chanc.files import atomic_write, atomic_write_text

_CHECK = '''\
"""Compares model.py with the ONNX model that it was made from, on random inputs; exits with 1 on a difference."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

ONNX = {onnx}
DTYPES = {{
    "float16": np.float16, "float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32,
    "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
}}  # fmt: skip


def random_input(value, batch, size, generator):
    """Numbers for one input: open axes take `batch` (the first) or `size`."""
    known = [d if isinstance(d, int) and d > 0 else None for d in value.shape]
    shape = [d or (batch if axis == 0 else size) for axis, d in enumerate(known)]
    dtype = DTYPES[value.type[len("tensor(") : -1]]
    if np.issubdtype(dtype, np.floating):
        return generator.random(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def main():
    """Run both and compare every output, relative to its largest entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", nargs="?", default=str(HERE / ONNX), help="the ONNX model")
    parser.add_argument("--batch", type=int, default=2, help="size of an open first axis")
    parser.add_argument("--size", type=int, default=64, help="size of other open axes")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.onnx, providers=["CPUExecutionProvider"])
    from model import {name}

    network = {name}()
    network.load_state_dict(load_file(HERE / "model.safetensors"))
    network.eval()
    generator = np.random.default_rng(0)
    worst = 0.0
    for _ in range(3):
        inputs = [random_input(value, args.batch, args.size, generator) for value in session.get_inputs()]
        feeds = {{value.name: array for value, array in zip(session.get_inputs(), inputs, strict=True)}}
        wanted = session.run(None, feeds)
        with torch.no_grad():
            found = network(*[torch.from_numpy(array) for array in inputs])
        found = [found] if isinstance(found, torch.Tensor) else list(found)
        for ours, theirs in zip(found, wanted, strict=True):
            if tuple(ours.shape) != theirs.shape:
                sys.exit(f"shapes differ: {{tuple(ours.shape)}} from model.py, {{theirs.shape}} from onnxruntime")
            theirs = theirs.astype(np.float64)
            scale = max(np.abs(theirs).max(initial=0.0), 1e-12)
            gap = float(np.abs(ours.detach().double().numpy() - theirs).max(initial=0.0) / scale)
            worst = worst if gap <= worst else gap
    print(f"largest difference, relative to the largest output: {{worst:.1e}}")
    if not worst <= args.tolerance:
        sys.exit(1)


if __name__ == "__main__":
    main()
'''


def write_package(
    model: ir.Model, folder: str | os.PathLike[str], name: str, onnx_path: str | os.PathLike[str]
) -> Source:
    """Write the three files into `folder`, made where it is missing; check.py looks for the model at `onnx_path`.

    Nothing is written where the model can't be emitted. Raises ModelError, OSError, MissingDependencyError.
    """
    plugins.expect("torch", "PyTorch source", "torch")
    plugins.expect("safetensors", "PyTorch source", "torch")
    from safetensors.torch import save_file

    source = emit(model, name)
    state = {key: tensor.contiguous().clone() for key, tensor in state_dict(source, model).items()}
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(os.path.realpath(onnx_path), os.path.realpath(target))
    atomic_write_text(target / "model.py", source.text)
    with atomic_write(target / "model.safetensors") as temporary:
        save_file(state, str(temporary))
    atomic_write_text(target / "check.py", _CHECK.format(name=source.name, onnx=_quoted(relative)))
    return source


def _quoted(text: str) -> str:
    """A string literal, in double quotes where the text has none."""
    literal = ascii(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal and "\\" not in literal else literal
