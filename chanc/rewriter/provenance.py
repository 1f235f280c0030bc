"""Where a model comes from, in its own metadata.

    chanc.version         of the chanc that made it
    chanc.source.sha256   of the ONNX file that it was made from; missing where that was no file
    chanc.plan            {"format": 2, "groups": {"conv1.weight": 32, ...}, "edges": {...}}, as `--plan` takes it
    chanc.trace.sha256    of the file that `--trace` writes; missing where several rewrites made it

No clock and no names of files are in it: the same call on the same file writes the same bytes. It is said of the last
rewrite only; what an earlier one said goes. Weights that lie outside of the ONNX file aren't in its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import onnx_ir as ir

from chanc.files import Json, checksum, json_text, plain
from chanc.rewriter.trace import Trace
from chanc.version import VERSION as CHANC

VERSION, SOURCE, PLAN, TRACE = "chanc.version", "chanc.source.sha256", "chanc.plan", "chanc.trace.sha256"


def sign(
    model: ir.Model, groups: Mapping[str, object], edges: Mapping[str, object], trace: Trace | None = None
) -> None:
    """Say in a model's metadata what made it; of its source nothing is known then.

    groups: width, or plan entry, by group. edges: as a plan has them. trace: of the one rewrite that did it.
    """
    plan: dict[str, Json] = {"format": 2, "groups": plain(groups), **({"edges": plain(edges)} if edges else {})}
    said = {VERSION: CHANC, PLAN: json.dumps(plan, separators=(",", ":"), ensure_ascii=False)}
    if trace is not None:
        said[TRACE] = hashlib.sha256(json_text(trace.to_json()).encode()).hexdigest()
    for key in (VERSION, SOURCE, PLAN, TRACE):
        model.metadata_props.pop(key, None)
    model.metadata_props.update(said)


def begin_digest(source: object) -> Future[str] | None:
    """Begin to hash the file at a path, in a thread beside what is done with the model; None for what is no path."""
    if not isinstance(source, str | os.PathLike):
        return None
    beside = ThreadPoolExecutor(1)
    digest = beside.submit(checksum, source)
    beside.shutdown(wait=False)
    return digest


def sign_source(model: ir.Model, digest: Future[str] | None) -> None:
    """Say which file a signed model was made from, by what `begin_digest` began."""
    if PLAN in model.metadata_props and digest is not None:
        model.metadata_props[SOURCE] = digest.result()
