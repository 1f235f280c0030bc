"""chanc beside Torch-Pruning and onnxsim: finding channel groups, and halving all widths, on the same networks.

Install beside chanc: torch-pruning==1.6.1 onnxsim==0.8.1 onnxscript==0.7.2. Models are torchvision networks as ONNX
files of the TorchScript exporter with BatchNorm kept (`tv_NAME.ts.onnx`, or skeletons `.onnx.gz`, whose weights are
made up), whose PyTorch twins in `twins.py` Torch-Pruning gets, and the networks of `larger.py`, which are exported
here: by the exporter that is `torch.onnx.export`'s default, and NAME.ts by TorchScript's, which leaves chains of
shapes. All files have an open batch.

    python benchmarks/pruning.py MODELS [--networks resnet50 ...] [--repeats 7] [--seconds 10]
                                        [--out benchmarks/results/pruning.md]

All tools run in one process, in turn, PyTorch on one thread. The first round is to warm up. A work that has taken
`--seconds` of CPU time runs no more; one whose first run took that long is timed once.
"""

from __future__ import annotations

import argparse
import copy
import functools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from arguments import at_least, folder, require, target
from larger import LARGER, Attention
from pruning_page import Found, page
from stages import shares_of_analysis, shares_of_rewrite
from torch import nn
from turns import Work, in_turn
from twins import TWINS

import chanc
from chanc.analysis import analyze_model
from chanc.frontends.torch import export
from chanc.ir import load, save
from chanc.ir.normalize import normalize
from chanc.testing.skeletons import open_model

CHAINS = ("sd_unet_like.ts", "transformer_24.ts")
"""Networks of `larger.py` that are exported once more."""
NETWORKS = (*TWINS, *LARGER, *CHAINS)
LAYERS = ("Conv", "Gemm", "MatMul", "Transpose")
Shape = tuple[int, ...]


class Network(NamedTuple):
    """An ONNX file, its PyTorch module, inputs of that, and the layers whose outputs are the network's."""

    path: Path
    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    ends: Callable[[nn.Module], list[nn.Module]]


def works(network: Network, folder: Path, pruned: dict[str, Shape]) -> dict[str, Work]:
    """What is timed, by name. onnxsim leaves simple.onnx and onnxsim.onnx, chanc chanc.onnx, Torch-Pruning `pruned`."""
    loaded = load(network.path)

    def groups() -> Callable[[], object]:
        normal = load(network.path)  # anew each time: what is analysed is folded in place
        normalize(normal)
        return lambda: analyze_model(normal)

    def chanc_file() -> None:
        save(chanc.rewrite(network.path, scale=0.5).model, folder / "chanc.onnx")

    def step() -> Callable[[], object]:
        module = copy.deepcopy(network.module)
        return lambda: pruned.update(weights(magnitude_step(network, module)))

    return {
        "opened": lambda: lambda: normalize(load(network.path)),
        "groups": groups,
        "depend": lambda: functools.partial(depend, network),
        "memory": lambda: lambda: chanc.rewrite(loaded, scale=0.5),
        "step": step,
        "file": lambda: chanc_file,
        "onnxsim": lambda: functools.partial(simplify_and_prune, network.path, folder),
    }


def depend(network: Network) -> None:
    """Torch-Pruning's channel groups."""
    import torch_pruning

    torch_pruning.DependencyGraph().build_dependency(network.module, example_inputs=network.inputs)


def magnitude_step(network: Network, module: nn.Module) -> nn.Module:
    """Torch-Pruning in memory: a magnitude pruner made and stepped once."""
    import torch_pruning

    heads: dict[nn.Module, int] = {m: m.num_heads for m in module.modules() if isinstance(m, nn.MultiheadAttention)}
    for attention in (m for m in module.modules() if isinstance(m, Attention)):
        heads |= dict.fromkeys((attention.query, attention.key, attention.value), attention.heads)
    pruner = torch_pruning.pruner.MagnitudePruner(
        module, network.inputs, importance=torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=0.5,
        ignored_layers=network.ends(module), num_heads=heads,
    )  # fmt: skip
    pruner.step()
    return module


def simplify_and_prune(path: Path, folder: Path) -> None:
    """simplify (which folds BatchNorm, as its pruning asks for) and prune, from file to file."""
    import onnxsim

    model = onnxsim.simplify(onnx.load(path))[0]
    if not (folder / "simple.onnx").exists():  # once, in the run to warm up
        onnx.save(model, folder / "simple.onnx")
    onnx.save(onnxsim.apply_structured_pruning(model, sparsity=0.5), folder / "onnxsim.onnx")


def layers(path: Path) -> dict[str, Shape]:
    """Shapes of the initializers that convolutions and products take, some of them through a Transpose."""
    model = onnx.load(path)
    used = {name for node in model.graph.node if node.op_type in LAYERS for name in node.input}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {name: shape for name, shape in shapes.items() if name in used and len(shape) >= 2}


def weights(module: nn.Module) -> dict[str, Shape]:
    """Shapes of the kernels and matrices of a module; what is looked up is none."""
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    return {name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim in (2, 4) and id(p) not in tables}


def changed(old: dict[str, Shape], new: dict[str, Shape]) -> tuple[int, int]:
    """How many have another shape, by name, and how many there are."""
    return sum(new.get(name) != shape for name, shape in old.items()), len(old)


def measure(network: Network, inside: Path, options: argparse.Namespace) -> Found:
    """All that the page says of a network."""
    pruned: dict[str, Shape] = {}
    runs = in_turn(works(network, inside, pruned), options.repeats, options.seconds)
    smaller = {"chanc": changed(layers(network.path), layers(inside / "chanc.onnx"))}
    if not runs["onnxsim"].error:
        smaller["onnxsim"] = changed(layers(inside / "simple.onnx"), layers(inside / "onnxsim.onnx"))
    if not runs["step"].error:
        smaller["Torch-Pruning"] = changed(weights(network.module), pruned)
    nodes = len(onnx.load(network.path, load_external_data=False).graph.node)
    shares = shares_of_rewrite(network.path, inside / "chanc.onnx")
    return Found(nodes, runs, smaller, shares, shares_of_analysis(network.path))


def opened(name: str, models: Path, inside: Path) -> Network:
    """A network of `larger.py`, exported, or a torchvision network, whose skeleton gets weights."""
    torch.manual_seed(0)
    path = inside / f"{name}.onnx"
    if name in LARGER or name in CHAINS:
        larger = LARGER[name.removesuffix(".ts")]
        module, inputs = larger.build().eval(), larger.inputs()
        export(module, inputs, path, exporter="torchscript" if name in CHAINS else "dynamo")
        return Network(path, module, inputs, larger.ends)
    plain = models / f"tv_{name}.ts.onnx"
    if not plain.exists():
        onnx.save(open_model(models / f"tv_{name}.ts.onnx.gz"), path)
    return Network(plain if plain.exists() else path, TWINS[name]().eval(), (torch.randn(1, 3, 224, 224),), last_linear)


def last_linear(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)][-1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=folder)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, metavar="NETWORK", default=list(NETWORKS))
    parser.add_argument("--repeats", type=at_least(1), default=7)
    parser.add_argument("--seconds", type=at_least(0.0), default=10.0)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    require(parser, "torch-pruning", "onnxsim", "onnxscript")
    for network in set(args.networks) & set(TWINS):
        if not any((args.models / f"tv_{network}.ts.onnx{end}").exists() for end in ("", ".gz")):
            parser.error(f"{args.models} has neither tv_{network}.ts.onnx nor tv_{network}.ts.onnx.gz")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found: dict[str, Found] = {}
    for name in args.networks:
        with tempfile.TemporaryDirectory() as inside:
            found[name] = measure(opened(name, args.models, Path(inside)), Path(inside), args)
        print(name, flush=True)
    text = page(found, f"python benchmarks/pruning.py MODELS --repeats {args.repeats} --seconds {args.seconds:g}")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
