"""Seeded run directories in the format of a search, and analysed models made by hand, for the report's tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from chanc import runs
from chanc.cost.cost import Cost
from chanc.runs import Best, Decision, Epoch, EpochEvent, FinalEvent, Row, RunDir, StateEvent, Timing, TrialEvent
from chanc.runs.seal import write_sealed

SETTINGS = {
    "model": "r34.onnx",
    "model_name": "resnet34",
    "algo": "sa",
    "data": "cifar10",
    "sampler": {"gamma": 0.8, "alpha": 5.0},
}
METRICS = ("in_rank", "out_rank", "in_kappa", "out_kappa", "in_qc", "out_qc")


@dataclass(frozen=True)
class Operand:
    node: str
    op: str
    input: int
    initializer: str
    axis: int
    role: str
    indices: Any


@dataclass(frozen=True)
class Group:
    id: str
    size: int
    step: int = 1
    resizable: bool = True
    reason: str = ""
    exact: bool = True
    operands: tuple[Operand, ...] = ()
    heads: bool = False

    @property
    def members(self) -> tuple[Operand, ...]:
        return tuple(operand for operand in self.operands if operand.op == "Conv" and operand.role != "follower")


@dataclass(frozen=True)
class Pinned:
    tensor: str
    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class Analysis:
    model: ir.Model
    groups: tuple[Group, ...]
    pinned: tuple[Pinned, ...] = ()
    params: int = 0
    macs: int = 0
    macs_all: int = 0

    @property
    def cost(self) -> Cost:
        return Cost(self.params, self.macs, self.macs_all)

    def group(self, name: str) -> Group:
        return next(group for group in self.groups if group.id == name)


def write_run(
    folder: Path, groups: int = 20, trials: int = 35, epochs: int = 2, final: bool = True, seed: int = 0,
    settings: Mapping[str, Any] | None = None, rename: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Write a run of simulated annealing with `groups` channel groups; the same seed gives the same bytes.

    settings: over those of the run. rename: other names for groups.
    """
    rng = np.random.default_rng(seed)
    names = [f"layer{1 + 4 * i // groups}.{i}.conv1.weight" for i in range(groups)]
    names = [(rename or {}).get(name, name) for name in names]
    run = runs.create(folder, {**SETTINGS, "trials": trials, "epochs": epochs, "seed": seed, **(settings or {})},
                      {"command": ["chanc", "search", "r34.onnx", "--algo", "sa"]})  # fmt: skip
    widths, momentum = np.full(groups, 16), np.zeros(groups)
    run.append(StateEvent({}))
    for trial in range(trials):
        quality = 0.2 + 0.3 * (1 - np.exp(-trial / 8)) + 0.1 * rng.random(groups)
        after = 0.8 * momentum + quality
        params = int(600 * (widths**2).sum() / 4)
        top1 = 0.35 + 0.5 * (1 - np.exp(-trial / 10)) + 0.02 * rng.random()
        by_group = dict(zip(names, after.tolist(), strict=True))
        decision = Decision(dict(zip(names, widths.tolist(), strict=True)))
        shown = tuple(_epoch(rng, names, epoch, top1) for epoch in range(epochs))
        metrics = {"group_metric": dict(zip(names, quality.tolist(), strict=True))}
        run.append(TrialEvent(trial, decision, params, params * 270, top1, 2 - top1, shown, metrics))
        run.append(StateEvent({}, best=Best(decision, trial) if final else None,
                              figures={str(trial): {"momentum": by_group, "cumulative": by_group}}))  # fmt: skip
        run.append_timing(Timing(str(trial), {"train": 30.5, "rewrite": 0.4}))
        factor = np.clip(1 + after - momentum, 0.5, 2)
        widths = np.clip(2 * np.rint(widths * factor * rng.uniform(0.8, 1.05, groups) / 2), 16, 256).astype(int)
        momentum = after
    if final:
        write_finals(run, comparison_rows())
    return folder


def write_masked_run(
    folder: Path, units: int = 20, epochs: int = 10, algo: str = "flexcharts", final: bool = True, seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write a masking search: widths of 36 go to 20 and more; the ranges of flexcharts follow them, dmask's don't."""
    rng = np.random.default_rng(seed)
    run = runs.create(folder, {**SETTINGS, "model": "flexcharts20.onnx", "algo": algo, "epochs": epochs, "seed": seed,
                               **(settings or {})}, {})  # fmt: skip
    names = [f"cell{unit}" for unit in range(units)]
    goals = rng.uniform(20, 110, units)
    for epoch in range(epochs):
        widths = 36 + (goals - 36) * (epoch + 1) / epochs
        options = [
            np.arange(8, 73, 8) if algo == "dmask"
            else np.unique(np.clip(8 * round(width / 8) + np.arange(-48, 49, 8), 8, 256))
            for width in widths
        ]  # fmt: skip
        raw = [np.exp(-0.5 * ((of - width) / 16) ** 2) for of, width in zip(options, widths, strict=True)]
        weights = [one / one.sum() for one in raw]
        expected = [float(of @ weight) for of, weight in zip(options, weights, strict=True)]
        mask = [
            {"options": of.tolist(), "weights": weight.tolist()} for of, weight in zip(options, weights, strict=True)
        ]
        macs = 5e8 * float(np.square(expected).sum()) / (units * 36**2)
        metrics = {
            "width": dict(zip(names, expected, strict=True)),
            "low": {name: float(of[0]) for name, of in zip(names, options, strict=True)},
            "high": {name: float(of[-1]) for name, of in zip(names, options, strict=True)},
            "cost": {"macs": macs, "params": macs / 160},
            "target": {"macs": 6e8},
            "lambda": {"macs": 0.01 * (1 + epoch)},
            "losses": {"weights": 2 - 0.1 * epoch, "masks": 2 - 0.08 * epoch, "held_out": 2 - 0.07 * epoch},
            "supernet": {"params": 5e6, "macs": 1e9, "executed": 4e13},
        }
        state = {"alpha": dict(zip(names, mask, strict=True))}
        run.append(EpochEvent(epoch, 2 - 0.1 * epoch, 0.4 + 0.04 * epoch, metrics, state))
        peak = (900 + epoch) * 2**20
        run.append_timing(Timing(f"epoch {epoch}", {"train": 30.0 + seed, "resize": 0.5}, peak_bytes=peak))
    found = {name: 8 * round(goal / 8) for name, goal in zip(names, goals, strict=True)}
    run.append(StateEvent({}, best=Best(Decision(found))))
    if final:
        write_finals(run, comparison_rows())
    return folder


def write_edge_run(folder: Path, cells: int = 3, steps: int = 4, f: int = 8, final: bool = True) -> Path:
    """Write a search that drops inputs: cells of two nodes; of the cell's inputs readers drop less than of nodes."""
    rng, whole = np.random.default_rng(0), 2
    run = runs.create(folder, {**SETTINGS, "model": "cnas.onnx", "algo": "cnas"}, {"held_out": 400})
    kept, counts = {}, {}
    for cell, node in itertools.product(range(cells), (0, 1)):
        groups = ("preprocess0.conv", "preprocess1.conv", "nodes.0.0.pointwise")[: 2 + node]
        kept[f"/cells.{cell}/nodes.{node}.0/pointwise/Conv_output_0:1"] = {
            f"cells.{cell}.{group}.weight": list(range(f)) for group in groups
        }
        counts[f"cells.{cell}.nodes.{node}.0.pointwise.weight"] = len(groups) * f
    names = dict(zip(kept, counts, strict=True))
    for epoch in range(whole + steps):
        cut: dict[str, dict[str, list[int]]] = {}
        for reader, groups in kept.items() if epoch >= whole else ():
            for group, units in groups.items():
                if "nodes" in group or epoch % 2:
                    cut.setdefault(reader, {})[group] = [units.pop(int(rng.integers(len(units))))]
                    counts[names[reader]] -= 1
        inputs = sum(counts.values())
        metrics = {"left": {"inputs": float(inputs), "params": 17.0 * inputs + 300},
                   "inputs": {name: float(count) for name, count in counts.items()}}  # fmt: skip
        run.append(EpochEvent(epoch, 2 - 0.1 * epoch, 0.5 + 0.04 * epoch, metrics, {"cut": cut} if cut else {}))
    found = {reader: {group: tuple(units) for group, units in groups.items()} for reader, groups in kept.items()}
    run.append(StateEvent({}, best=Best(Decision(edges=found))))
    if final:
        write_finals(run, [*comparison_rows(), Row("tuned", 5500000, 402000000, 0.9352, 0.001)])
    return folder


def write_finals(run: RunDir, rows: Sequence[Row]) -> None:
    """The final trainings that a comparison of these rows comes from: one, or two at a distance of its spread."""
    for row in rows:
        scores = [row.top1 - row.top1_std / 2**0.5, row.top1 + row.top1_std / 2**0.5] if row.top1_std else [row.top1]
        for turn, score in enumerate(scores):
            run.append(FinalEvent(f"{row.name}-{turn}", Decision(), {}, turn, row.params, row.macs, score, 1.0))
        run.append_timing(Timing(row.name, latency_s=row.latency_s))


def comparison_rows() -> list[Row]:
    return [
        Row("baseline", 21282122, 1159402496, 0.9312, 0.002, 0.0312),
        Row("found", 5500000, 402000000, 0.9342, 0.001, 0.0112),
        Row("uniform-params", 5400000, 300000000, 0.9281, 0.003, 0.0092),
        Row("uniform-macs", 7200000, 402000000, 0.9301, 0.002, 0.0092),
        Row("random-params", 5450000, 350000000, 0.9202, 0.004, 0.0101),
    ]


def _epoch(rng: np.random.Generator, names: list[str], epoch: int, top1: float) -> Epoch:
    def measure(place: float) -> list[float]:
        level = top1 * (0.3 + 0.6 * place)
        return [
            *(level * rng.uniform(0.9, 1.1, 2)),
            *(1 + 4 * level * rng.uniform(0.9, 1.1, 2)),
            *(level * rng.uniform(0.8, 1.2, 2)),
        ]

    metrics = {name: dict(zip(METRICS, measure(i / len(names)), strict=True)) for i, name in enumerate(names)}
    return Epoch(epoch, 2 - top1 - 0.2 * epoch + 0.1 * rng.random(), top1 - 0.02 * (1 - epoch), 0.03, metrics)


@dataclass
class _Net:
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    operands: dict[str, list[Operand]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def conv(
        self, name: str, source: str, reads: list[tuple[str | None, int]], writes: str, size: int, kernel: int = 3
    ) -> str:
        """Add Conv, BatchNorm and Relu; `reads`: the groups (or None) of the input's segments."""
        total, at, out = sum(width for _, width in reads), 0, f"{name}_out"
        self.weights.append(_tensor(f"{name}.weight", (size, total, kernel, kernel)))
        pads = [kernel // 2] * 4
        self.nodes.append(helper.make_node("Conv", [source, f"{name}.weight"], [out], name=name, pads=pads))
        for group, width in reads:
            if group is not None:
                self._note(
                    group, Operand(out, "Conv", 1, f"{name}.weight", 1, "consumer", np.arange(at, at + width)[:, None])
                )
            at += width
        self.sizes[writes] = size
        self._note(writes, Operand(out, "Conv", 1, f"{name}.weight", 0, "producer", np.arange(size)[:, None]))
        norm = [f"{name}.bn.{part}" for part in ("weight", "bias", "mean", "var")]
        self.weights += [_tensor(part, (size,)) for part in norm]
        self.nodes.append(helper.make_node("BatchNormalization", [out, *norm], [f"{name}_bn"]))
        for index, part in enumerate(norm, 1):
            self._note(
                writes,
                Operand(f"{name}_bn", "BatchNormalization", index, part, 0, "follower", np.arange(size)[:, None]),
            )
        self.nodes.append(helper.make_node("Relu", [f"{name}_bn"], [f"{name}_relu"]))
        return f"{name}_relu"

    def join(self, op: str, sources: list[str], name: str) -> str:
        self.nodes.append(helper.make_node(op, sources, [name], **({"axis": 1} if op == "Concat" else {})))
        return name

    def analysis(self, last: str, last_group: str, classes: int = 10, pinned: tuple[Pinned, ...] = ()) -> Analysis:
        size = self.sizes[last_group]
        self.weights.append(_tensor("fc.weight", (classes, size)))
        self.nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
        self.nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        self.nodes.append(helper.make_node("Gemm", ["flat", "fc.weight"], ["logits"], transB=1))
        self._note(last_group, Operand("logits", "Gemm", 1, "fc.weight", 1, "consumer", np.arange(size)[:, None]))
        inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(proto)
        groups = tuple(
            Group(name, self.sizes[name], reason="", operands=tuple(found)) for name, found in self.operands.items()
        )
        pins = (Pinned("logits", "logits", "Gemm", "graph output"), *pinned)
        return Analysis(ir.from_proto(proto), groups, pins, params=10**6, macs=10**8, macs_all=10**8)

    def _note(self, group: str, operand: Operand) -> None:
        self.operands.setdefault(group, []).append(operand)


def resnet(blocks: int = 8, width: int = 16, prefix: str = "") -> Analysis:
    """A residual network in four stages, its groups found by construction: a stream a stage, an inner one a block."""
    net = _Net()
    stream = f"{prefix}stem.weight"
    last = net.conv(f"{prefix}stem", "image", [(None, 3)], stream, width)
    for block in range(blocks):
        name, size = f"{prefix}layer{1 + 4 * block // blocks}.{block}", width * 2 ** (4 * block // blocks)
        inner, before = f"{name}.conv1.weight", net.sizes[stream]
        first = net.conv(f"{name}.conv1", last, [(stream, before)], inner, size)
        old, stream = stream, stream if size == before else f"{name}.conv2.weight"
        second = net.conv(f"{name}.conv2", first, [(inner, size)], stream, size)
        if stream != old:
            last = net.conv(f"{name}.shortcut", last, [(old, before)], stream, size, kernel=1)
        last = net.join("Add", [second, last], f"{name}_add")
    return net.analysis(last, stream)


def cells(count: int = 20, branches: int = 4) -> Analysis:
    """Cells of parallel branches whose outputs are concatenated, each cell reading the two before it."""
    net = _Net()
    last = before = (net.conv("stem", "image", [(None, 3)], "stem.weight", 32), [("stem.weight", 32)])
    for cell in range(count):
        made = []
        for branch in range(branches):
            source, reads = (last, before)[branch % 2]
            name = f"cells.{cell}.branch{branch}"
            made.append((net.conv(name, source, reads, f"{name}.weight", 16 + 8 * (branch % 3)), name))
        joined = net.join("Concat", [value for value, _ in made], f"cells.{cell}_out")
        before, last = last, (joined, [(f"{name}.weight", net.sizes[f"{name}.weight"]) for _, name in made])
    final = net.conv("head", last[0], last[1], "head.weight", 64, kernel=1)
    return net.analysis(final, "head.weight")


def _tensor(name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(shape, np.float32).tobytes(), raw=True)


def write_sweep(folder: Path, gammas: tuple[float, ...] = (0.0, 0.5, 0.8), seeds: int = 3, seed: int = 0) -> Path:
    """Write a sweep of two methods over gamma, each cell a run with final trainings; the last cell has failed.

    The baseline is trained once a seed, and shared.
    """
    rng = np.random.default_rng(seed)
    names = []
    for algo in ("greedy", "sa"):
        for gamma in gammas:
            params = int(2e6 * (0.3 + gamma) * (1.1 if algo == "sa" else 1))
            for number in range(seeds):
                name = f"{algo}-gamma{gamma}-seed{number}"
                names.append(name)
                _write_best(write_run(folder / name, 3, 2, final=False, seed=len(names), settings={"algo": algo}))
                level = 0.9 + 0.03 * gamma + 0.002 * rng.standard_normal()
                rows = {
                    "found": {"params": params, "macs": params * 60, "top1": level, "latency_s": 0.01},
                    "uniform-params": {"params": params, "macs": params * 50, "top1": level - 0.006},
                    "baseline": {"params": 5_000_000, "macs": 4 * 10**8, "top1": 0.93 + 0.001 * number},
                }
                for of in rows.values():
                    of["scores"] = {str(number): of["top1"]}
                row = {
                    "cell": name,
                    "algo": algo,
                    "gamma": gamma,
                    "seed": number,
                    "trials": 6,
                    "widths": {},
                    "rows": rows,
                }
                write_sealed(folder / name / "cell.json", row)
    failed = folder / names[-1]
    (failed / "cell.json").unlink()
    (failed / "error.txt").write_text("TrialError: diverged\n")
    sweep = {"format": 2, "model": "r18.onnx", "cells": names, "common": {"data": "cifar10", "trials": 6}}
    write_sealed(folder / "sweep.json", sweep)
    return folder


def _write_best(folder: Path) -> None:
    """Make the last trial of a run the best one, as a search does."""
    run = RunDir(folder, list(runs.read_run(folder).log))
    trial = run.record.trials[-1]
    run.append(StateEvent({}, best=Best(trial.decision, trial.id)))
