"""Trial methods: they see what each trial measured and propose the widths of the next one."""

from __future__ import annotations

from chanc.study.methods.trial.conet import Conet
from chanc.study.methods.trial.evolve import Evolve
from chanc.study.methods.trial.flat import Flat
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.methods.trial.optuna import Optuna
from chanc.study.methods.trial.random import Random
from chanc.study.methods.trial.sa import SimulatedAnnealing
from chanc.study.methods.trial.shape import Shape
from chanc.study.methods.trial.uniform import Uniform

__all__ = ["Conet", "Evolve", "Flat", "Greedy", "Optuna", "Random", "Shape", "SimulatedAnnealing", "Uniform"]
