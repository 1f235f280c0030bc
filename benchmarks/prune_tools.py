"""What `prune.py` compares: the networks, how they are first trained, and the tools that prune them.

Every tool leaves an ONNX file. Where a tool fine-tunes, `chanc.train` does it, with one recipe and one seed for all.
The networks are plain PyTorch, which Torch-Pruning works on; chanc and onnxsim get what `chanc.export` makes of them.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from prune import (
    AT_ONCE,
    CALIBRATED_AT_ONCE,
    CALIBRATION,
    EPOCHS,
    EVIDENCE,
    FIRST_BATCH,
    FIRST_RATE,
    GUARD,
    JUDGED,
    NETWORKS,
    RECIPE,
    SEARCHED,
    TRAIN,
)
from reconstruct import within
from torch import Tensor, nn

import chanc
from chanc.data import Dataset
from chanc.data import load as load_data
from chanc.frontends import zoo


class Attention(nn.Module):
    """Self-attention of [N, tokens, width] whose shapes follow from the weights, so that they may be pruned."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (layer(x).reshape(batch, tokens, self.heads, layer.out_features // self.heads).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))  # fmt: skip
        weights = (q @ k.transpose(2, 3) * (self.q.out_features // self.heads) ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, self.v.out_features))


class Block(nn.Module):
    """Attention and an MLP, each after a LayerNorm and with a residual."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Four blocks on the 7x7 tokens of a 28x28 image; their mean is classified."""

    def __init__(self, width: int = 64, depth: int = 4, heads: int = 4, inner: int = 128, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 49, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, inner) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(x)).mean(1))


def made(name: str) -> nn.Module:
    """The network with the weights of seed 0."""
    torch.manual_seed(0)
    if name == "vit":
        return Vit()
    known = NETWORKS[name]
    widths = {key: max(2, round(width * known.share)) for key, width in zoo.table(name).items()}
    return zoo.build(name, widths=widths, channels=known.image[0])


class Work(NamedTuple):
    """A network at work: its trained files, the data of a seed, and what may be left of its MACs (0 to 1)."""

    name: str
    folder: Path
    data_root: str
    share: float = 1.0
    seed: int = 0

    @property
    def path(self) -> Path:
        """The trained network as ONNX."""
        return self.folder / f"{self.name}.onnx"

    @property
    def weights(self) -> Path:
        """Its state_dict."""
        return self.folder / f"{self.name}.pt"

    @property
    def common(self) -> dict[str, Any]:
        """How chanc is given the data, whatever it does with them."""
        return {"data": NETWORKS[self.name].data, "data_root": self.data_root, "normalise": "dataset"}

    @property
    def recipe(self) -> dict[str, Any]:
        """Of a fine-tuning, the images of the seed among it."""
        return {**self.common, **RECIPE, "seed": self.seed, "limit_train": TRAIN, "limit_test": JUDGED}

    def dataset(self) -> Dataset:
        """The images that chanc takes for this seed."""
        return load_data(
            NETWORKS[self.name].data, root=self.data_root, limit_train=TRAIN, limit_test=JUDGED, seed=self.seed
        )

    def module(self) -> nn.Module:
        """The trained network in PyTorch."""
        module = made(self.name)
        module.load_state_dict(torch.load(self.weights))
        return module.eval()

    def export(self, module: nn.Module, path: Path) -> onnx.ModelProto:
        """A module of this network as ONNX."""
        chanc.export(module, path, shapes=((1, *NETWORKS[self.name].image),))
        return onnx.load(path)


def pixels(data: Dataset, chosen: Tensor) -> Tensor:
    """Training images as the networks are fed them, float32 [N, C, H, W]."""
    gain, shift = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (data.input.gain, data.input.shift))
    return torch.from_numpy(data.train_images[chosen.numpy()]).float() * gain + shift


def drawn(data: Dataset, count: int, seed: int) -> Tensor:
    """Numbers of so many training images."""
    return torch.randperm(len(data.train_labels), generator=torch.Generator().manual_seed(seed))[:count]


def base(work: Work) -> onnx.ModelProto:
    """The network, trained and kept in both forms."""
    module, data = made(work.name).train(), work.dataset()
    epochs = NETWORKS[work.name].epochs
    labels = torch.from_numpy(data.train_labels)
    optimizer = torch.optim.AdamW(module.parameters(), lr=FIRST_RATE, weight_decay=0.01)
    steps = len(labels) // FIRST_BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, FIRST_RATE, total_steps=epochs * steps)
    for epoch in range(epochs):
        for chosen in drawn(data, steps * FIRST_BATCH, epoch).split(FIRST_BATCH):
            images = pixels(data, chosen)
            images = images.flip(3) if torch.rand(()) < 0.5 else images
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images), labels[chosen]).backward()
            optimizer.step()
            rate.step()
    torch.save(module.state_dict(), work.weights)
    return work.export(module.eval(), work.path)


def by_chanc(work: Work, task: str, epochs: int) -> onnx.ModelProto:
    """`chanc prune` in one step: evidence, rewrite, closed form and, for `epochs` above 0, fine-tuning."""
    done = chanc.prune(
        onnx.load(work.path), max_macs=f"{work.share:.0%}", task=task, epochs=epochs, round_to=1, **work.recipe
    )
    return done.model


def by_torch_pruning(work: Work, kind: str) -> onnx.ModelProto:
    """Torch-Pruning at the largest global ratio within the budget, fine-tuned by chanc."""
    module = work.module()
    if kind == "taylor":
        _gradients(work, module)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.onnx"
        small = within(
            lambda keep: work.export(_torch_pruned(work, module, kind, 1 - keep), path), onnx.load(work.path),
            work.share, SEARCHED,
        )  # fmt: skip
    return chanc.train(small, epochs=EPOCHS, **work.recipe).model


def _gradients(work: Work, module: nn.Module) -> None:
    """Leave each weight the mean gradient of the loss over as many images as chanc's evidence sees."""
    data = work.dataset()
    labels = torch.from_numpy(data.train_labels)
    for chosen in drawn(data, EVIDENCE * AT_ONCE, work.seed).split(AT_ONCE):
        loss = nn.functional.cross_entropy(module(pixels(data, chosen)), labels[chosen])
        (loss / EVIDENCE).backward()


def _torch_pruned(work: Work, module: nn.Module, kind: str, ratio: float) -> nn.Module:
    """A copy without this share of all channels, those worth least by one ranking of them all."""
    import torch_pruning as tp

    own = copy.deepcopy(module)
    for mine, known in zip(own.parameters(), module.parameters(), strict=True):
        mine.grad = None if known.grad is None else known.grad.clone()
    importance = tp.importance.GroupTaylorImportance() if kind == "taylor" else tp.importance.GroupMagnitudeImportance()
    attentions = [layer for layer in own.modules() if isinstance(layer, Attention)]
    heads = {layer: one.heads for one in attentions for layer in (one.q, one.k, one.v)}
    last = [layer for layer in own.modules() if isinstance(layer, nn.Linear)][-1]
    # Its defaults are dicts that all pruners share: each gets its own.
    pruner = tp.pruner.BasePruner(
        own, torch.zeros(1, *NETWORKS[work.name].image), importance, global_pruning=True, pruning_ratio=ratio,
        max_pruning_ratio=GUARD, ignored_layers=[last], num_heads=heads, in_channel_groups={}, out_channel_groups={},
    )  # fmt: skip
    pruner.step()
    return own


def by_onnxsim(work: Work) -> onnx.ModelProto:
    """onnxsim's pruning within the budget, and its closed form on unlabelled images; it folds BatchNorm first."""
    import onnxsim

    original, data = onnx.load(work.path), work.dataset()
    given = original.graph.input[0].name
    feeds = [{given: pixels(data, chosen).numpy()} for chosen in
             drawn(data, CALIBRATION, work.seed).split(CALIBRATED_AT_ONCE)]  # fmt: skip
    simple = onnxsim.simplify(original)[0]
    small = within(
        lambda keep: onnxsim.apply_structured_pruning(simple, sparsity=1 - keep), original, work.share, SEARCHED
    )
    found: onnx.ModelProto = onnxsim.apply_pruning_finetune(simple, small, calibration_data=feeds)
    return found


TOOLS: Mapping[str, Callable[[Work], onnx.ModelProto]] = {
    "chanc-labels": lambda work: by_chanc(work, "classification", EPOCHS),
    "tp-taylor": lambda work: by_torch_pruning(work, "taylor"),
    "tp-norm": lambda work: by_torch_pruning(work, "norm"),
    "chanc": lambda work: by_chanc(work, "distillation", EPOCHS),
    "chanc-closed": lambda work: by_chanc(work, "distillation", 0),
    "onnxsim": by_onnxsim,
    "base": base,
}


def measured(work: Work, tool: str) -> dict[str, float]:
    """What a tool makes of the network: params and MACs as chanc counts them, and top-1 (0 to 1) on all test images."""
    model = TOOLS[tool](work)
    found = chanc.evaluate(model, threads=1, **work.common)
    if found.score is None:
        raise RuntimeError(f"{work.name} by {tool} has no score")
    cost = chanc.analyze(model)
    return {"params": cost.params, "macs": cost.macs, "score": found.score.value}
