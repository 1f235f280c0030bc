"""Studies: methods propose widths, the driver trains trials, a run directory keeps what came out.

Importing this package registers the samplers and needs numpy only; torch is loaded when a search starts.
"""

from __future__ import annotations

from chanc.study.methods.protocol import GroupEpoch, Measurement, TrialMethod, WholeMethod
from chanc.study.methods.trial import Conet, Greedy, Random, SimulatedAnnealing, Uniform
from chanc.study.outcome import Run
from chanc.study.sampler import SAMPLERS, Proposal, Sampler, make, names, register
from chanc.study.space import SearchGroup, Space
from chanc.study.study import search

__all__ = [
    "SAMPLERS",
    "Conet",
    "Greedy",
    "GroupEpoch",
    "Measurement",
    "Proposal",
    "Random",
    "Run",
    "Sampler",
    "SearchGroup",
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
