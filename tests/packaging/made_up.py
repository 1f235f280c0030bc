"""What the pages of the docs take for granted, made up: `python -m made_up photos feeds`, in the folder of a page.

As a plug-in of chanc (`accept`) it lets a few made-up pictures in CIFAR-10's layout pass for CIFAR-10.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from chanc.data import cifar

FOLDER = "cifar-10-batches-bin"
LAYOUT = next(layout for layout in cifar.LAYOUTS if layout.folder == FOLDER)
PICTURES = 40
"""In each file of CIFAR-10."""
EDGES = {
    "stem": ("input", 16, 3, 3), "layer1.conv1": ("stem", 64, 16, 3), "layer1.conv2": ("layer1.conv1", 8, 64, 1),
    "cell2.op4": ("stem", 16, 16, 1), "cell3.op1": ("cell2.op4", 8, 16, 1), "cell3.op2": ("both", 8, 32, 1),
}  # fmt: skip
"""Convolutions by their names: what they read, channels out and in, kernel."""
SPEECH = """<ir_version: 9, opset_import: ["": 17]>
net (float[batch,80,T] frames) => (float[batch,32,T] output) {
   hidden = Conv<kernel_shape=[3], pads=[1,1]>(frames, first)
   rectified = Relu(hidden)
   output = Conv<kernel_shape=[1]>(rectified, second)
}"""


def pictures(number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Noisy [N, 3, 32, 32], a colour a class, and their labels."""
    labels = np.arange(PICTURES) % 10
    colours = np.stack([labels % 3, labels // 3 % 3, labels // 9], axis=1)[:, :, None, None] * 90
    noise = np.random.default_rng(number).integers(0, 60, (PICTURES, 3, 32, 32))
    return (colours + noise).astype(np.uint8), labels.astype(np.uint8)


def contents() -> dict[str, bytes]:
    """The files of CIFAR-10, by their names."""
    parts = ((name, *pictures(number)) for number, name in enumerate((*LAYOUT.train, *LAYOUT.test)))
    return {
        name: np.hstack([labels[:, None], images.reshape(PICTURES, -1)]).tobytes() for name, images, labels in parts
    }


def accept() -> None:
    """The made-up files are what CIFAR-10 is checked for."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents().items()}
    made_up = dataclasses.replace(
        LAYOUT, train={name: sums[name] for name in LAYOUT.train}, test={name: sums[name] for name in LAYOUT.test}
    )
    cifar.LAYOUTS = tuple(made_up if layout is LAYOUT else layout for layout in cifar.LAYOUTS)


def cifar10() -> None:
    Path(FOLDER).mkdir()
    for name, content in contents().items():
        (Path(FOLDER) / name).write_bytes(content)


def photos() -> None:
    Path("photos").mkdir()
    for number, picture in enumerate(pictures(0)[0]):
        Image.fromarray(picture.transpose(1, 2, 0)).save(f"photos/{number}.png")


def grey_photos() -> None:
    Path("photos").mkdir()
    for number, picture in enumerate(load_digits().images[:200]):
        Image.fromarray((picture * 255 / 16).astype(np.uint8)).save(f"photos/{number}.png")


def feeds() -> None:
    np.savez("feeds.npz", input=(pictures(1)[0] / 255).astype(np.float32))


def images() -> None:
    np.save("images.npy", (load_digits().images[:200, None] / 16).astype(np.float32))


def edges() -> None:
    """A model in which the consumers of the page's plan are."""
    nodes = [helper.make_node("Conv", [reads, f"{name}.weight"], [name], pads=[kernel // 2] * 4)
             for name, (reads, _, _, kernel) in EDGES.items()]  # fmt: skip
    nodes.insert(-1, helper.make_node("Concat", ["stem", "cell2.op4"], ["both"], axis=1))
    nodes.append(helper.make_node("Sum", ["cell3.op1", "cell3.op2", "layer1.conv2"], ["sum"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["sum"], ["output"]))
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
            for name, shape in (("input", (3, 8, 8)), ("output", (8, 1, 1)))]  # fmt: skip
    model = helper.make_model(helper.make_graph(nodes, "net", ends[:1], ends[1:]),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=9)  # fmt: skip
    save(model, "model.onnx", {f"{name}.weight": (out, in_, k, k) for name, (_, out, in_, k) in EDGES.items()})


def speech() -> None:
    save(onnx.parser.parse_model(SPEECH), "speech.onnx", {"first": (64, 80, 3), "second": (32, 64, 1)})


def save(model: onnx.ModelProto, file: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """With weights drawn by lot."""
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        weight = random.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, file)


class Attention(nn.Module):
    """Four heads of 16 channels, with what a transformer has around them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(64), nn.LayerNorm(64)
        self.qkv, self.out = nn.Linear(64, 192), nn.Linear(64, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.first(x)).reshape(-1, 16, 3, 4, 16).permute(2, 0, 3, 1, 4)
        seen = (query @ key.transpose(-1, -2) / 4).softmax(-1) @ value
        x = x + self.out(seen.transpose(1, 2).reshape(-1, 16, 64))
        return x + self.mlp(self.second(x))


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 64, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def vit() -> nn.Module:
    """For `chanc export torch:made_up:vit`."""
    return nn.Sequential(Patches(), Attention(), Attention(), nn.LayerNorm(64), Mean(), nn.Linear(64, 10))


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        globals()[wanted]()
