from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")

from chanc.errors import ChancError  # noqa: E402
from chanc.frontends import open_spec  # noqa: E402

SOURCE = """
from torch import nn

def net(classes=10, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, classes))

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 1))

def number():
    return 5

def failing():
    raise RuntimeError("no weights here\\nsecond line")

def _hidden():
    pass

ready = net()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with a package nets_N.small, the name new for each test."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "small.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield f"{name}.small"
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def test_zoo():
    module = open_spec("zoo:resnet18", seed=0, width=4, classes=3)
    assert module.fc.weight.shape == (3, 4)


def test_factory_gets_the_options(home):
    module = open_spec(f"torch:{home}:net", classes=7, width=6)
    assert module[4].weight.shape == (7, 6)


def test_a_class_and_a_ready_module_serve_too(home):
    assert type(open_spec(f"torch:{home}:Net")).__name__ == "Net"
    assert open_spec(f"torch:{home}:ready")[0].weight.shape == (4, 3, 3, 3)


def test_the_path_is_put_back(home):
    before = list(sys.path)
    open_spec(f"torch:{home}:net")
    with pytest.raises(ChancError):
        open_spec(f"torch:{home}:failing")
    assert sys.path == before


def test_seed_draws_the_weights_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (open_spec("zoo:resnet18", seed=seed, width=4).conv1.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("resnet18", "'resnet18' is not a network: give hf:FOLDER or "),
        ("zoo:", "'zoo:' is not a network"),
        ("onnx:model", "is not a network"),
        ("zoo:lenet", "the zoo has no network 'lenet'; it has resnet18, "),
        ("torch:HOME", "names no factory"),
        ("torch:HOME:", "names no factory"),
        ("torch:nowhere_at_all.models:net", "there is no module 'nowhere_at_all'; the working directory has nets_"),
        ("torch:HOMEX:net", "there is no module 'nets_"),
        ("torch:HOME:nett", "has no factory 'nett'; it has Net, failing, net, number"),
        ("torch:HOME:number", "made a int, not a torch.nn.Module"),
        ("torch:HOME:failing", "failed: RuntimeError: no weights here"),
    ],
)
def test_refusals_are_one_line(spec, says, home):
    with pytest.raises(ChancError) as caught:
        open_spec(spec.replace("HOME", home))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_factory_that_does_not_take_an_option(home):
    with pytest.raises(ChancError, match=r"failed: TypeError: .*depth"):
        open_spec(f"torch:{home}:net", depth=3)


def test_module_that_can_not_be_imported(home, tmp_path):
    package = home.partition(".")[0]
    (tmp_path / package / "bad.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / package / "worse.py").write_text("def :\n")
    with pytest.raises(ChancError, match=r"importing .*bad failed: ModuleNotFoundError"):
        open_spec(f"torch:{package}.bad:net")
    with pytest.raises(ChancError, match=r"importing .*worse failed: SyntaxError"):
        open_spec(f"torch:{package}.worse:net")
