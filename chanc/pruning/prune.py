"""`chanc.prune`: one call from a model and a budget to a cheaper model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.analysis import analyze
from chanc.backends.ort import likely_sizes, seconds
from chanc.errors import RunError
from chanc.ir import check, like, load
from chanc.ir.sizes import per_sample, sizes_of
from chanc.pruning.budgets import Budgets
from chanc.pruning.outcome import Pruned, Step, Watch
from chanc.rewriter.budget import Amount
from chanc.rewriter.provenance import sign, sign_source

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.data import DataSource
    from chanc.ir.sizes import Sizes
    from chanc.runs import RunDir
    from chanc.training.task import Task

RECOVERY: Mapping[str, Any] = {"optimizer": "adamw"}
"""How a pruned model is trained where nobody says it: gently, for its weights are good ones."""


def prune(
    model: Any,
    *,
    max_params: Amount | None = None,
    max_macs: Amount | None = None,
    max_latency: Amount | None = None,
    data: DataSource | None = None,
    task: str | Task = "distillation",
    data_root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    steps: int = 1,
    epochs: int = 3,
    refit: bool = True,
    importance: str | None = None,
    keep: Sequence[str] = (),
    ratios: Mapping[str, float] | None = None,
    heads: bool = True,
    round_to: int | None = None,
    min_width: int = 1,
    normalise: str | None = None,
    scale_pixels: str | None = None,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
    begin: Callable[[int], object] = lambda number: None,
    watch: Watch | None = None,
    **options: Any,
) -> Pruned:
    """Bring a model under a budget, and back to what it did; the model that came in stays as it is.

    Channels go that are worth least for what they cost, every rewrite is verified, the layers that remain are refitted
    to the original in closed form, and the network is trained.

    max_params, max_macs, max_latency: as for `chanc.rewrite`. data: what `chanc.train` takes; without any the weights
    alone judge, and nothing is mended. task: what the model is for; by default it learns from the original what that
    says of the data, which needs no labels. steps: the budget is met in so many, of which each takes the same part
    away. epochs: of training in each step; 0 for none. refit: whether layers are refitted. importance: "taylor",
    without data "l2". keep, ratios, heads, round_to, min_width: as for `chanc.rewrite`. normalise, scale_pixels,
    options: as for `chanc.train`, but that AdamW is the usual optimizer. run: a directory that keeps each step as it
    ends; resume: go on with it. say: gets notes. begin: told of each step that begins, from 0. watch: of the trainings.

    Raises PlanError for a budget that can't be met or makes no sense, VerifyError where a rewritten model computes
    something else, and what `chanc.train` raises.
    """
    budgets = Budgets(max_params, max_macs, max_latency)
    if steps < 1:
        raise RunError(f"a pruning has at least one step, not {steps}")
    loaded = load(model)
    check(loaded)
    asked = dict(per_sample(loaded, sizes_of(loaded, dims, shapes)))
    made_up = data is None or (isinstance(data, str) and data == "random")
    sizes = {**(likely_sizes(loaded) or {}), **asked} if made_up else asked
    chosen = {"keep": tuple(keep), "ratios": ratios, "heads": heads, "round_to": round_to, "min_width": min_width}
    named = isinstance(model, str | os.PathLike)
    if data is None:
        say("note: without --data nobody knows what the channels are good for: the weights alone judge, nothing is "
            "mended, and how right the result is isn't known")  # fmt: skip
        own = analyze(loaded, dims=sizes, fold=False)
        found = _by_weights(loaded, budgets, importance or "l2", sizes, chosen)
        _sign(found.model, (found,), model)
        return Pruned(found.model if named else like(found.model, model), (found,), own.params, own.macs, sizes)
    plugins.require("torch", "pruning by data", "torch")
    from chanc.pruning.loop import Pruning
    from chanc.pruning.steps import Recovery
    from chanc.tasks import classifies, configured, fitted, with_recipe
    from chanc.training.inputs import data_of, sizes_seen
    from chanc.training.module import remarks
    from chanc.training.options import InputOptions

    recipe = {**(RECOVERY if "optimizer" not in options else {}), **options}
    seed, device = options.get("seed", 0), options.get("device", "auto")
    first = configured(task, recipe)[0]
    whole = data_of(loaded, data, data_root, limit_train, limit_test, seed, sizes)
    if task == "distillation" and classifies(loaded, whole):
        recipe = {"logits": True, **recipe}  # the labels of the data tell that these are classes
        first = configured(task, recipe)[0]
    taught = loaded if first.wants_teacher else None
    dataset, told = fitted(loaded, whole, first, InputOptions(normalise, scale_pixels), device, taught)
    for note in (dataset.note, told, *remarks(loaded)):
        if note:
            say(f"note: {note}")
    sizes = {**sizes_seen(loaded, dataset), **asked}
    own = analyze(loaded, dims=sizes, fold=False)
    what, training = with_recipe(task, {**recipe, "epochs": max(epochs, 1)}, dataset)
    recovery = Recovery(loaded, dataset, what, training, importance or "taylor", sizes, refit, epochs > 0, say)
    settings = {"kind": "prune", "max_params": max_params, "max_macs": max_macs, "max_latency": max_latency,
                "task": what.name, "steps": steps, "epochs": epochs, "refit": refit, "importance": recovery.importance,
                **chosen, "train": {k: v for k, v in recipe.items() if k != "device"}, "data": dataset.fingerprint(),
                "params": own.params, "macs": own.macs, "sizes": sizes}  # fmt: skip
    kept = _opened(Path(run), loaded, settings, model, command, resume) if run is not None else None
    pruning = Pruning(loaded, budgets, recovery, {**chosen, "seed": seed}, steps, kept)
    with kept.owned() if kept is not None else nullcontext():
        recovery.rehearse()
        before = recovery.score(loaded)
        done = pruning.carried_out(watch, begin)
    _sign(done[-1].model, done, model)
    return Pruned(
        done[-1].model if named else like(done[-1].model, model),
        done,
        own.params,
        own.macs,
        sizes,
        before,
        what.score_name,
    )


def _by_weights(
    model: ir.Model, budgets: Budgets, importance: str, sizes: Mapping[str, int], chosen: Mapping[str, Any]
) -> Step:
    """A pruning without data: nothing is mended afterwards."""
    from chanc.pruning.cut import cut

    own = analyze(model, dims=sizes, fold=False)
    bounds = budgets.at(1.0, own.params, own.macs, lambda: 1e3 * seconds(model))
    done = cut(model, None, importance, sizes, **bounds, **chosen)
    now = analyze(done.model, dims=sizes, fold=False)
    return Step(done.model, dict(done.trace.groups), now.params, now.macs, {}, dict(done.trace.left))


def _sign(pruned: ir.Model, steps: Sequence[Step], source: object) -> None:
    """Say in its metadata what the pruned model came from."""
    before: dict[str, int] = {}
    for step in steps:
        before |= {name: old for name, (old, _) in step.widths.items() if name not in before}
    widths = {name: new for name, (_, new) in steps[-1].widths.items() if new != before[name]}
    if len(steps) > 1:
        sign(pruned, widths, {})
    if widths:
        sign_source(pruned, source)


def _opened(
    path: Path, model: ir.Model, settings: Mapping[str, object], named: object, command: Sequence[str], resume: bool
) -> RunDir:
    """The run directory, new or gone on with. Raises: RunError where it is another one's."""
    from chanc import runs
    from chanc.ir import save
    from chanc.runs.machine import environment

    about = environment(named, command)
    if resume:
        return runs.resume(path, settings, environment=about)
    return runs.create(path, settings, about, {runs.INPUT: lambda file: save(model, file)})
