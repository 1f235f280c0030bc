"""Which layers of a network end a branch: what drop-path and spatial dropout leave out.

A branch is an operand of a join that nothing else reads, and that ends in a layer (a convolution, a linear layer, a
norm), behind which at most such nodes stand as a factor goes through: f(a x) = a f(x). A join is a sum of activations,
or a Concat by which something passes unchanged, as in DenseNet. What others read as well is an identity, and no branch;
nor is what holds no layer, a pooling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from chanc.backends.torch import Built
from chanc.ops import Trait, has, kind_of

_LAYERS = (_ConvNd, nn.Linear, _BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_SUMS = (("", "Add"), ("", "Sum"))


def branches(built: Built, graph: ir.Graph, *, concats: bool = False) -> list[str]:
    """Paths in `built.module`, made from `graph`, of the layers that end a branch of a sum, and of a Concat if asked.

    Each is called once in a forward pass.
    """
    layers = _layers(built)
    joins = (node for node in graph if _is_sum(node) or (concats and _is_growth(node)))
    ends = (_end(value, layers) for node in joins for value in node.inputs if value is not None)
    return list(dict.fromkeys(path for path in ends if path is not None))


def _layers(built: Built) -> dict[str, str]:
    """Name of the value that a layer makes -> its path; a layer that is called more than once isn't there."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for key, binding in built.bindings.items():
        path = key.rpartition(".")[0]
        if isinstance(built.module.get_submodule(path), _LAYERS):
            found |= {output: path for output, _ in binding.uses}
            shared |= {path} if len(binding.uses) > 1 else set()
    return {output: path for output, path in found.items() if path not in shared}


def _is_sum(node: ir.Node) -> bool:
    """Whether a node adds activations of one shape; the batch axis may have several names."""
    shapes = [tuple(value.shape)[1:] for value in _computed(node) if value.shape is not None]
    return kind_of(node) in _SUMS and len(shapes) == len(node.inputs) > 1 and len(set(shapes)) == 1


def _is_growth(node: ir.Node) -> bool:
    """Whether a node joins what others read as well with what only it reads."""
    return kind_of(node) == ("", "Concat") and not all(map(_read_once, _computed(node)))


def _end(value: ir.Value, layers: Mapping[str, str]) -> str | None:
    """The path of the layer that the branch which `value` brings ends in; None where it is none."""
    while _read_once(value):
        if (path := layers.get(value.name or "")) is not None:
            return path
        node = value.producer()
        if node is None or not _scales(node):
            return None
        (value,) = _computed(node)
    return None


def _scales(node: ir.Node) -> bool:
    """Whether f(a x) = a f(x) for any a > 0 and the one input x, sample by sample along the first axis."""
    computed = list(_computed(node))
    if len(computed) != 1 or computed[0] is not node.inputs[0]:
        return False
    if kind_of(node) == ("", "Transpose"):
        return (node.attributes.get_ints("perm") or (-1,))[0] == 0
    bent = has(node, Trait.CURVED, Trait.LIFTING, Trait.ADDITIVE)
    return has(node, Trait.ELEMENTWISE) and not bent and all(map(_is_float, (computed[0], node.outputs[0])))


def _computed(node: ir.Node) -> Iterator[ir.Value]:
    """The inputs of a node that are no weights."""
    return (value for value in node.inputs if value is not None and not value.is_initializer())


def _read_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
