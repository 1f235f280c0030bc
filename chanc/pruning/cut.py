"""The rewrite of a step: channels go, and what is left is verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from chanc.backends.ort import seconds
from chanc.errors import VerifyError
from chanc.oracles import judge
from chanc.rewriter import Rewrite, rewrite
from chanc.rewriter.importance import Gathered


def cut(model: ir.Model, evidence: Gathered | None, importance: str, sizes: Mapping[str, int], **asked: Any) -> Rewrite:
    """The rewrite of a model under its bounds. asked: as `chanc.rewrite` takes it.

    Raises: PlanError for bounds that can't be met; VerifyError where it computes something else than the original
    without the dropped channels.
    """
    done = rewrite(model, importance=importance, evidence=evidence, dims=sizes, fold=False, clock=seconds, **asked)
    return verified(model, done, sizes)


def verified(model: ir.Model, done: Rewrite, sizes: Mapping[str, int]) -> Rewrite:
    """The rewrite of a model, judged. Raises: VerifyError where it computes something else than its trace says."""
    verdict = judge(model, done.model, trace=done.trace, sizes=sizes)
    if verdict.agrees is False:
        raise VerifyError(f"the rewritten model computes something else than the original: {verdict}")
    return done
