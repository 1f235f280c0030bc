"""The steps of a pruning, one after the other. With a run directory one that is done is never done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.backends.ort import seconds
from chanc.ir import copy_model, load, save
from chanc.pruning.budgets import Budgets
from chanc.pruning.outcome import Step, Watch
from chanc.pruning.steps import Recovery
from chanc.rewriter import rewrite
from chanc.runs import INPUT, RunDir, StartEvent, StepEvent


@dataclass(frozen=True)
class Steps:
    """The steps of a pruning by data.

    own: the analysis of the model. asked: of a rewrite, besides its bounds. run: where the steps are kept.
    """

    model: ir.Model
    own: Analysis
    budgets: Budgets
    recovery: Recovery
    asked: Mapping[str, Any]
    steps: int
    run: RunDir | None = None

    def check(self) -> None:
        """See by the weights that the budgets can be met. Raises: PlanError where they can't."""
        rewrite(self.model, **{**self.asked, **self._bounds(1.0)}, dims=self.recovery.sizes, fold=False,
                clock=seconds)  # fmt: skip

    def carried_out(self, watch: Watch | None, begin: Callable[[int], object]) -> tuple[Step, ...]:
        """All steps, those that the run has already among them. begin: told of each step that begins, from 0.

        Raises: PlanError for budgets that can't be met; VerifyError; TrialError.
        """
        done = list(self._known())
        if self.run is not None and not self.run.record.of(StartEvent):
            self.run.append(StartEvent("prune", file=INPUT))
        for number in range(len(done), self.steps):
            begin(number)
            before = done[-1].model if done else self.model
            done.append(self._step(number, copy_model(before), watch))
        return tuple(done)

    def _step(self, number: int, before: ir.Model, watch: Watch | None) -> Step:
        bounds = self._bounds((number + 1) / self.steps)
        if self.run is None:
            return self.recovery.step(before, None, watch, {**self.asked, **bounds})
        checkpoint = self.run.folder(f"trials/{number:03d}") / "training.safetensors"
        found = self.recovery.step(before, checkpoint, watch, {**self.asked, **bounds})
        kept = self._keep(self.run, number, found)
        checkpoint.unlink(missing_ok=True)
        return kept

    def _bounds(self, share: float) -> dict[str, float]:
        return self.budgets.at(share, self.own.params, self.own.macs, lambda: 1e3 * seconds(self.model))

    def _keep(self, run: RunDir, number: int, found: Step) -> Step:
        """Write a step down, and read it again: what comes next is the same whether the run was killed or not."""
        path = run.model_path(number)
        save(found.model, path)
        before, after = ({name: pair[k] for name, pair in found.widths.items()} for k in (0, 1))
        run.append(StepEvent(number, before, after, found.params, found.macs, found.scores, found.left,
                             file=path.relative_to(run.path).as_posix()))  # fmt: skip
        return list(self._known())[number]

    def _known(self) -> Iterator[Step]:
        """The steps that the run has, their models from the disk."""
        if self.run is None:
            return
        for event in self.run.record.steps:
            widths = {name: (event.before[name], width) for name, width in event.widths.items()}
            model = load(self.run.path / event.file)
            yield Step(model, widths, event.params, event.macs, event.scores, event.left)
