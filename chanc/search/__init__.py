"""Search: samplers propose widths, the driver trains trials, a run directory keeps what came out.

Importing this package registers the samplers and needs numpy only; torch is loaded when a search starts.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from chanc.search.api import search as search
from chanc.search.conet import Conet as Conet
from chanc.search.greedy import Greedy as Greedy
from chanc.search.outcome import Run as Run
from chanc.search.random import Random as Random
from chanc.search.sa import SimulatedAnnealing as SimulatedAnnealing
from chanc.search.sampler import SAMPLERS as SAMPLERS
from chanc.search.sampler import GroupEpoch as GroupEpoch
from chanc.search.sampler import Measurement as Measurement
from chanc.search.sampler import Proposal as Proposal
from chanc.search.sampler import Sampler as Sampler
from chanc.search.sampler import make as make
from chanc.search.sampler import names as names
from chanc.search.sampler import register as register
from chanc.search.space import SearchGroup as SearchGroup
from chanc.search.space import Space as Space
from chanc.search.uniform import Uniform as Uniform


class _Callable(ModuleType):
    """`chanc.search` is this package once anything of it was imported, and the documented call all the same."""

    def __call__(self, *args: Any, **options: Any) -> Run:
        return search(*args, **options)


sys.modules[__name__].__class__ = _Callable
