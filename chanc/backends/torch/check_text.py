"""The text of check.py, which compares a model.py with its ONNX model where chanc isn't there.

It follows the judge of a rewrite (`chanc.oracles`): one size for one name, ids below their tables, a mask's -inf
compared as it is, and float64 before a difference is called one.
"""

from __future__ import annotations

CHECK = '''\
"""Compares model.py with the ONNX model that it was made from; exits with 1 on a difference.

The inputs are random, or those of --inputs. What differs in float32 is computed in float64 too: rounding is allowed.
"""

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
{inputs}  # open axes have a name, or None
{below}  # what integers index has so many rows
RANDOM = {random}  # the model draws numbers, so that only shapes can be compared
{ends}  # what model.py returns, where the ONNX model goes on
LARGEST = 1 << 25
SIZES = (64, 224, 32, 48, 96, 128, 256, 512, 1024, 16000, 28, 8, 16, 112, 160, 299, 320, 384, 640)
LENGTHS = {lengths}  # at which the model may have been traced
TOLERANCES = {{torch.float16: 1e-2, torch.bfloat16: 8e-2}}
DTYPES = {{
    "float16": np.float16, "float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32,
    "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
}}  # fmt: skip


def session_of(path):
    """onnxruntime on the ONNX model, up to what model.py returns."""
    if not ENDS:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    import onnx

    model = onnx.load(path, load_external_data=False)
    needed, kept = set(ENDS), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(names_in(node))
            kept.append(node)
    if lost := [name for name in ENDS if not any(name in node.output for node in kept)]:
        sys.exit(f"the model doesn't compute {{lost[0]!r}}")
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(reversed(kept))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ENDS)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(Path(path).parent))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def names_in(node):
    """What a node reads, its bodies' values among it."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from names_in(inner)


def shapes_of(values, batch, size):
    """Shapes for the inputs: open axes take `batch` (the first) or `size`, one value for one name."""
    shapes = [INPUTS.get(value.name) or value.shape or [] for value in values]
    first = {{shape[0]: batch for shape in shapes if shape and isinstance(shape[0], str)}}
    return [
        [
            d if isinstance(d, int) and d > 0 else first.get(d, size) if d or axis else batch
            for axis, d in enumerate(shape)
        ]
        for shape in shapes
    ]


def random_feeds(values, shapes, generator):
    """Numbers for every input; None where one would be huge."""
    if max(map(np.prod, shapes), default=0) > LARGEST:
        return None
    feeds = {{}}
    for value, shape in zip(values, shapes, strict=True):
        dtype = DTYPES[value.type[len("tensor(") : -1]]
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = generator.standard_normal(shape).astype(dtype)
        else:
            feeds[value.name] = generator.integers(0, BELOW.get(value.name, 2), shape).astype(dtype)
    return feeds


def fitting_feeds(session, batches, sizes, generator):
    """The first random inputs that onnxruntime takes."""
    values, said = session.get_inputs(), "they would be huge"
    for batch in batches:
        for size in sizes:
            feeds = random_feeds(values, shapes_of(values, batch, size), generator)
            try:
                if feeds is not None:
                    session.run(None, feeds)
                    return feeds
            except Exception as error:
                said = " ".join(str(error).split())
    sys.exit(f"onnxruntime runs the model on none of the random inputs, so give it some with --inputs: {{said}}")


def given_feeds(path, values):
    """The inputs in a file, an array for each by its name, in the types that the model takes."""
    try:
        held = dict(np.load(path))
    except (OSError, ValueError) as error:
        sys.exit(f"{{path}} can't be read as inputs: {{error}}")
    missing = [value.name for value in values if value.name not in held]
    if missing:
        sys.exit(f"{{path}} has no {{missing[0]!r}}; the model's inputs are {{[value.name for value in values]}}")
    return {{value.name: held[value.name].astype(DTYPES[value.type[len("tensor(") : -1]]) for value in values}}


def outputs(network, feeds, values, double=False):
    """What the network makes of the inputs, as arrays."""
    inputs = [torch.from_numpy(feeds[value.name]) for value in values]
    if double:
        inputs = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
    with torch.no_grad():
        found = network(*inputs)
    found = [found] if isinstance(found, torch.Tensor) else list(found)
    return [tensor.detach().double().numpy() for tensor in found]


def gap(ours, theirs):
    """The largest difference, relative to the largest entry; what isn't finite must be the same."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        b = b.astype(np.float64)
        if a.shape != b.shape:
            sys.exit(f"shapes differ: {{a.shape}} from model.py, {{b.shape}} from onnxruntime")
        if RANDOM:
            continue
        finite = np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
            return float("inf")
        scale = max(np.abs(b[finite]).max(initial=0.0), 1e-12)
        worst = max(worst, float(np.abs(a[finite] - b[finite]).max(initial=0.0) / scale))
    return worst


def rounding(network, feeds, values, ours, theirs):
    """How far float32 takes model.py from itself in float64, and how far onnxruntime is from that."""
    try:
        exact = outputs(network.double(), feeds, values, double=True)
    except Exception:
        return 0.0, float("inf")
    return gap(ours, exact), gap(exact, theirs)


def main():
    """Run both and compare every output, relative to its largest entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", nargs="?", default=str(HERE / ONNX), help="the ONNX model")
    parser.add_argument("--batch", type=int, help="size of an open first axis (2, else 1)")
    parser.add_argument("--size", type=int, help="size of other open axes (the first that runs)")
    parser.add_argument("--inputs", metavar="FEEDS.npz", help="inputs to compare on, an array for each by its name")
    parser.add_argument("--tolerance", type=float, help="1e-4; more for a model in half precision")
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)  # inputs that don't fit are no news
    session = session_of(args.onnx)
    from model import {name}

    network = {name}()
    state = load_file(HERE / "model.safetensors")
    network.load_state_dict(state)
    network.eval()
    allowed = args.tolerance or max((TOLERANCES.get(tensor.dtype, 1e-4) for tensor in state.values()), default=1e-4)
    values = session.get_inputs()
    if args.inputs:
        feeds = given_feeds(args.inputs, values)
    else:
        sizes = (args.size,) if args.size else (*SIZES, *LENGTHS)
        feeds = fitting_feeds(session, (args.batch,) if args.batch else (2, 1), sizes, np.random.default_rng(0))
    theirs, ours = session.run(None, feeds), outputs(network, feeds, values)
    worst = gap(ours, theirs)
    if RANDOM:
        print("the shapes are the same; the model draws random numbers, so values can't be compared")
        return
    if ENDS:
        print(f"model.py ends before the ONNX model does: {{', '.join(map(ascii, ENDS))}} are compared")
    print(f"largest difference, relative to the largest output: {{worst:.1e}}")
    if not worst <= allowed:
        noise, far = rounding(network, feeds, values, ours, theirs)
        if not far <= 10 * noise:
            sys.exit(1)
        print(f"can't tell: in float32 rounding alone makes {{noise:.1e}} in model.py, {{far:.1e}} in onnxruntime")


if __name__ == "__main__":
    main()
'''
