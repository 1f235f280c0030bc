"""Where the cells of a sweep, or the trials of a search, run: this machine, Ray or Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chanc import plugins

if TYPE_CHECKING:
    from chanc.study.pools import Pool


def open_pool(
    out: str, workers: int | None, ray: str | None, slurm: str | None, time_limit: int | None
) -> tuple[Pool, int | str]:
    """Where the cells run, and how many at a time. Raises as the pools do, or UsageError."""
    if ray is not None and slurm is not None:
        raise click.UsageError("--ray and --slurm don't go together")
    if time_limit is not None and slurm is None:
        raise click.UsageError("--time-limit is for --slurm")
    if ray is not None:
        from chanc.study.pools.ray import RayPool

        pool = RayPool(ray, workers or 0)
        return pool, pool.share.at_once
    if slurm is not None:
        from chanc.study.pools.slurm import SlurmPool

        return SlurmPool(slurm, Path(out) / "slurm", workers or 0, time_limit or 0), workers or "all"
    from chanc.study.pools.local import LocalPool, threads_each, visible_gpus

    plugins.expect("torch", "a sweep on this machine", "torch")
    gpus = visible_gpus() if workers is None else ()
    at_once = len(gpus) or workers or 1
    return LocalPool(at_once, gpus, threads_each(at_once)), at_once
