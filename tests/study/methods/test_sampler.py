from __future__ import annotations

import pytest

from chanc.errors import ChancError, RunError
from chanc.study.methods import registry
from chanc.study.methods.sampler import Sampler
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.methods.trial.sa import SimulatedAnnealing
from chanc.testing.samplers import example_measurement, example_space


class Other(SimulatedAnnealing):
    """A method with a name of its own already."""


def test_all_methods_are_registered() -> None:
    assert set(registry.names()) >= {"greedy", "sa", "conet", "uniform", "random", "taylor"}


@pytest.mark.parametrize("fresh", [None, False, True])
@pytest.mark.parametrize("name", [name for name in registry.names() if isinstance(registry.make(name), Sampler)])
def test_fresh_weights_are_an_option_of_every_sampler(name: str, fresh: bool | None) -> None:
    """CONet and the baselines start anew by default, as their papers do; the others go on from the trial before."""
    sampler = registry.make(name, **({} if fresh is None else {"fresh": fresh}))
    assert isinstance(sampler, Sampler)
    space, state = example_space(), sampler.begin(example_space())
    for trial_id in range(2):
        (trial,), state = sampler.ask(space, state, 1)
        state = sampler.tell(space, state, trial, example_measurement(space, trial_id, trial.decision.widths)).state
    anew = name in ("conet", "random", "uniform", "flat") if fresh is None else fresh
    assert (trial.parent, trial.transfer) == (0, "init" if anew else None)


def test_a_name_is_given_once() -> None:
    with pytest.raises(RunError, match=r"are the search method 'greedy': .*Greedy and .*test_sampler\.Other"):
        registry.register("greedy")(Other)
    assert registry.METHODS["greedy"] is Greedy
    assert Other.name == "sa"


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(RunError, match=r"no search method 'gredy' \(did you mean 'greedy'\?\); there are .*greedy"):
        registry.make("gredy")
    with pytest.raises(RunError, match="no option 'gama'"):
        registry.make("greedy", gama=0.5)


def test_importing_the_samplers_loads_no_torch(fresh) -> None:
    script = "import sys, chanc.study; print([m for m in ('torch', 'onnxruntime', 'matplotlib') if m in sys.modules])"
    assert fresh(script).stdout == "[]\n"


def test_the_package_is_the_documented_call_too() -> None:
    import chanc

    for _ in range(2):
        with pytest.raises(ChancError, match="nowhere"):
            chanc.search("nowhere.onnx", out="never")
