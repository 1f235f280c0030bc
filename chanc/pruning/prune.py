"""`chanc.prune`: one call from a model and a budget to a cheaper model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc import plugins
from chanc.analysis import analyze
from chanc.backends.ort import likely_sizes, seconds
from chanc.errors import RunError
from chanc.ir import check, like, load
from chanc.ir.sizes import per_sample, sizes_of
from chanc.pruning.budgets import Budgets
from chanc.pruning.cut import cut
from chanc.pruning.edges import cut_edges, inputs_read, refuse
from chanc.pruning.outcome import Pruned, Step, Watch
from chanc.rewriter.budget import Amount
from chanc.rewriter.provenance import PLAN, begin_digest, sign, sign_source

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.data import DataSource
    from chanc.ir.sizes import Sizes
    from chanc.rewriter import Rewrite
    from chanc.training.task import Task


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
    insert_batchnorm: bool | None = None,
    importance: str | None = None,
    keep: Sequence[str] = (),
    ratios: Mapping[str, float] | None = None,
    heads: bool = True,
    round_to: int | None = None,
    min_width: int = 1,
    edges: bool = False,
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
    away. epochs: of training in each step; 0 for none. refit: whether layers are refitted. insert_batchnorm: whether
    bare convolutions are trained with a BatchNorm that is folded again; by itself for classification. importance:
    "taylor", without data "l2". keep, ratios, heads, round_to, min_width: as for `chanc.rewrite`. edges: no channels go
    but edges, from each layer inputs of its own. normalise, scale_pixels, options: as for `chanc.train`, but that AdamW
    is the usual optimizer, and that pixels which can't be told are asked for. run: a directory that keeps each step as
    it ends; resume: go on with it. say: gets notes. begin: told of each step that begins, from 0. watch: of the
    trainings.

    Raises PlanError for a budget that can't be met or makes no sense, VerifyError where a rewritten model computes
    something else, and what `chanc.train` raises.
    """
    budgets = Budgets(max_params, max_macs, max_latency)
    if steps < 1:
        raise RunError(f"a pruning has at least one step, not {steps}")
    loaded = load(model)
    check(loaded)
    given = dict(per_sample(loaded, sizes_of(loaded, dims, shapes)))
    chosen = {"keep": tuple(keep), "ratios": ratios, "heads": heads, "round_to": round_to, "min_width": min_width}
    if edges:
        refuse(budgets, ratios)
        del chosen["ratios"]
    if data is None:
        say("note: without --data nobody knows what the channels are good for: the weights alone judge, nothing is "
            "mended, and how right the result is isn't known")  # fmt: skip
        sizes = {**(likely_sizes(loaded) or {}), **given}
        done = _by_weights(loaded, budgets, importance or "l2", sizes, chosen, edges)
    else:
        plugins.require("torch", "pruning by data", "torch")
        from chanc.pruning.by_data import Asked, Kept, by_data
        from chanc.training.options import InputOptions

        asked = Asked(
            data, task, data_root, (limit_train, limit_test), InputOptions(normalise, scale_pixels), steps, epochs,
            refit, insert_batchnorm, importance or "taylor", edges, chosen, given, options,
        )  # fmt: skip
        kept = Kept(Path(run), resume, model, command) if run is not None else None
        done = by_data(loaded, budgets, asked, kept, say=say, begin=begin, watch=watch)
    _sign(done, model, edges)
    return done if isinstance(model, str | os.PathLike) else dataclasses.replace(done, model=like(done.model, model))


def _by_weights(
    model: ir.Model, budgets: Budgets, importance: str, sizes: Mapping[str, int], chosen: Mapping[str, Any], edges: bool
) -> Pruned:
    """A pruning without data: nothing is mended afterwards."""
    own = analyze(model, dims=sizes, fold=False)
    bounds = budgets.at(1.0, own.params, own.macs, lambda: 1e3 * seconds(model))
    cutter: Callable[..., Rewrite] = cut_edges if edges else cut
    done = cutter(model, None, importance, sizes, **bounds, **chosen)
    widths = inputs_read(model, done.model, sizes) if edges else dict(done.trace.groups)
    now = analyze(done.model, dims=sizes, fold=False)
    step = Step(done.model, widths, now.params, now.macs, {}, dict(done.trace.left))
    return Pruned(done.model, (step,), own.params, own.macs, sizes)


def _sign(done: Pruned, source: object, edges: bool) -> None:
    """Say in its metadata what the pruned model came from."""
    before: dict[str, int] = {}
    for step in done.steps:
        before |= {name: old for name, (old, _) in step.widths.items() if name not in before}
    widths = {name: new for name, (_, new) in done.steps[-1].widths.items() if new != before[name]}
    if len(done.steps) > 1:
        sign(done.model, {} if edges else widths, {})
    if widths:
        sign_source(done.model, begin_digest(source))
    if edges and len(done.steps) > 1:
        del done.model.metadata_props[PLAN]  # what edges were cut of a cut model is no plan for the original
