"""The contract for operator rules holds for the example's operator, and notices rules that are wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.errors import ChancError
from chanc.ops.table import SPECS
from chanc.registry import Operator
from chanc.rewriter.rules import REGISTRY as REWRITE
from chanc.testing.rules import RuleContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "03_custom_operator.py"


def _example():
    spec = importlib.util.spec_from_file_location("custom_operator", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _example()
KEY = (example.DOMAIN, "ChannelGate")


@pytest.fixture
def registered():
    """The example's rules, for one test."""
    with SPECS.scratch(), ANALYSIS.scratch(), REWRITE.scratch():
        example.register()
        yield


@pytest.mark.usefixtures("registered")
class TestChannelGate(RuleContract):
    domain, operator = KEY

    def models(self):
        return [example.network()]

    def run(self, model, feeds):
        return example.run(model, feeds)


def _forgets_the_gain(context):
    context.parameter(1, (0,))
    context.output(context.input(0))


def _forgets_the_data(context):
    context.parameter(1, (0,))
    context.output(context.input(0))
    context.pin(context.input(0).fields[0].labels, "as if it weren't understood")


def _whole(contract):
    contract.test_the_operator_is_understood()
    contract.test_shrink()
    contract.test_widen()


@pytest.mark.parametrize("wrong", [_forgets_the_gain, _forgets_the_data])
def test_a_wrong_rule_breaks_the_contract(registered, wrong):
    """A rule that doesn't tie the gain to the channels, and one that pins them."""
    ANALYSIS.remove(Operator(*KEY))
    ANALYSIS.rule(KEY[1], domain=KEY[0])(wrong)
    with pytest.raises((AssertionError, ChancError)):
        _whole(TestChannelGate())


def test_an_attribute_that_does_not_follow_breaks_the_contract(registered):
    REWRITE.remove(Operator(*KEY))
    with pytest.raises(AssertionError, match="but the attribute says 16"):
        TestChannelGate().test_shrink()
