"""Studies: methods propose widths, the driver trains trials, a run directory keeps what came out.

Importing this package registers the methods and needs numpy only; torch is loaded when a search starts.
"""

from __future__ import annotations

from chanc.study.methods.halving import Halving
from chanc.study.methods.protocol import Context, GroupEpoch, Measurement, TrialMethod, WholeMethod
from chanc.study.methods.registry import METHODS, make, names, register
from chanc.study.methods.sampler import Proposal, Sampler
from chanc.study.methods.trial import (
    Conet,
    Evolve,
    Flat,
    Greedy,
    Optuna,
    Random,
    Shape,
    SimulatedAnnealing,
    Uniform,
)
from chanc.study.outcome import Run
from chanc.study.space import SearchGroup, Space
from chanc.study.study import search

__all__ = [
    "METHODS",
    "Conet",
    "Context",
    "Evolve",
    "Flat",
    "Greedy",
    "GroupEpoch",
    "Halving",
    "Measurement",
    "Optuna",
    "Proposal",
    "Random",
    "Run",
    "Sampler",
    "SearchGroup",
    "Shape",
    "SimulatedAnnealing",
    "Space",
    "TrialMethod",
    "Uniform",
    "WholeMethod",
    "make",
    "names",
    "register",
    "search",
]
