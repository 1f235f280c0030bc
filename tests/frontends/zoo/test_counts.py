"""Parameters, MACs and numbers of independent widths against published and independently measured figures."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from chanc.frontends import zoo  # noqa: E402

# network, width, params at 10 and at 100 classes (None: not known)
PARAMS = [
    ("resnet34", None, 21_282_122, 21_328_292),
    ("resnet34", 16, 76_250, 77_780),
    ("resnet34", 32, 301_482, 304_452),
    ("resnet34", 256, 19_098_890, None),
    ("darts7", None, 222_650, 245_780),
    ("darts7", 32, 126_922, 138_532),
    ("dartsplus7", None, 261_370, 284_500),
    ("darts14", None, 3_926_842, 3_996_052),
    ("resnet18", None, 11_173_962, None),
    ("resnet50", None, 23_520_842, None),
    ("vgg11", None, 9_231_114, None),
    ("vgg16", None, 14_728_266, None),
    ("mobilenetv2", None, 2_236_682, None),
    ("densenet-bc", None, 769_162, None),
    ("flexcharts20", None, 3_494_110, None),
    ("wrn22-1", None, 272_282, None),
    ("wrn22-2", None, 1_079_642, None),
    ("wrn22-4", None, 4_298_970, None),
]

# CONet's compound scaling of DARTS7 for CIFAR-100: width factor, params
SCALED = [(2**0.5, 458_402), (2**1.5, 1_713_922), (2**2.5, 3_981_394), (2**3.5, 5_811_272), (2**4.5, 6_956_644)]

# params at 1,000 classes, of the same widths on ImageNet: strides and poolings, which differ, have no parameters
IMAGENET_PARAMS = [
    ("resnet18-imagenet", 11_689_512),
    ("resnet34-imagenet", 21_797_672),
    ("resnet50-imagenet", 25_557_032),
    ("mobilenetv2-imagenet", 3_504_872),
    ("mobilenetv3-large", 5_483_032),
    ("efficientnet-b0", 5_288_548),
    ("shufflenetv2", 2_278_604),
    ("googlenet", 6_624_904),
]

# network, width, MACs of convolutions and linear layers, MACs with BatchNorm (2 an element), ReLU and pooling (1)
MACS = [
    ("resnet34", None, 1_159_402_496, 1_162_425_344),
    ("resnet34", 16, 21_393_568, 21_888_416),
    ("resnet34", 32, 84_689_216, 85_678_912),
    ("resnet34", 256, 5_370_546_688, 5_378_464_256),
    ("darts7", None, 37_652_992, 40_618_496),
    ("darts7", 32, 56_956_160, 61_056_256),
    ("dartsplus7", None, 43_166_208, 46_377_472),
    ("darts20", None, 528_359_040, 547_473_024),
    ("flexcharts20", None, 537_793_024, 556_972_544),
    ("wrn22-1", None, 40_813_184, 41_382_528),
    ("wrn22-2", None, 157_730_048, 158_819_584),
    ("wrn22-4", None, 619_104_768, 621_234_688),
]

WIDTHS = [
    ("resnet34", 20),
    ("darts7", 48),
    ("darts14", 111),
    ("darts20", 165),
    ("dartsplus7", 55),
    ("dartsplus14", 125),
    ("dartsplus20", 185),
    ("flexcharts20", 22),
    ("wrn22-1", 12),
    ("wrn22-2", 13),
]


def by_day(rows):
    """Rows for parametrize: the deepest networks' at night."""
    deep = {"darts14", "darts20", "flexcharts20"}
    return [pytest.param(*row, marks=pytest.mark.nightly if row[0] in deep else ()) for row in rows]


@pytest.mark.parametrize(("name", "width", "ten", "hundred"), by_day(PARAMS))
def test_params(name, width, ten, hundred):
    assert zoo.params(name, width=width) == ten
    if hundred is not None:
        assert zoo.params(name, width=width, classes=100) == hundred


@pytest.mark.parametrize(("name", "params"), IMAGENET_PARAMS)
def test_params_of_imagenet_networks(name, params):
    assert zoo.params(name, classes=1000) == params


@pytest.mark.parametrize(("factor", "params"), SCALED)
def test_params_of_compound_scaling(factor, params):
    """The published rows are .458, 1.714, 3.981, 5.811 and 6.957 M."""
    with torch.device("meta"):
        assert _params(zoo.build("darts7", scale=factor, classes=100)) == params


def test_compound_scaling_is_even_and_capped():
    assert set(zoo.scaled("darts7", 2**0.5).values()) == {22, 46, 68, 90}
    assert set(zoo.scaled("darts7", 100).values()) == {256}
    assert set(zoo.scaled("darts7", 0.01).values()) == {2}
    wide = {key: 2 * round(size * 2**4.5 / 2) for key, size in zoo.table("darts7").items()}
    with torch.device("meta"):
        assert round(_params(zoo.build("darts7", widths=wide, classes=100)) / 1e6) == 101  # what the cap is there for


def test_the_papers_dartsplus14_is_darts20():
    """By its counts, 3.35 and 3.40 M."""
    assert [round(zoo.params("darts20", classes=classes) / 1e6, 3) for classes in (10, 100)] == [3.349, 3.401]
    assert round(zoo.params("dartsplus14", classes=10) / 1e6, 2) == 4.33


def test_params_published_in_millions():
    assert round(zoo.params("wrn22") / 1e6, 1) == 17.2
    assert round(zoo.params("darts20") / 1e6, 4) == 3.3493


def test_flexcharts20_is_darts20_with_a_width_a_cell_and_a_head():
    """528.4 M MACs and 3.3493 M params without the head, 537.8 M MACs with it."""
    assert zoo.table("flexcharts20") == {
        "stem": 108,
        **{f"cells.{cell}": 36 * 2 ** ((cell >= 6) + (cell >= 13)) for cell in range(20)},
        "head": 256,
    }
    head = 576 * 256 + 2 * 256 + (256 - 576) * 10
    assert zoo.params("flexcharts20") == zoo.params("darts20") + head
    macs = {name: bare for name, _, bare, _ in MACS}
    assert macs["flexcharts20"] - macs["darts20"] == 8 * 8 * 576 * 256 + (256 - 576) * 10
    assert [round(macs[name] / 1e6, 1) for name in ("darts20", "flexcharts20")] == [528.4, 537.8]


def test_auxiliary_head_of_flexcharts20_is_three_linear_layers():
    with torch.device("meta"):
        module = zoo.build("flexcharts20", aux=True).eval()
        logits, auxiliary = module(torch.empty(2, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (2, 10)
    shapes = [tuple(p.shape) for p in module.auxiliary.parameters() if p.ndim > 1]
    assert shapes == [(128, 4 * 144), (768, 128), (10, 768)]
    assert _params(module) - _params(module.auxiliary) == zoo.params("flexcharts20")


@pytest.mark.parametrize(("name", "width", "bare", "whole"), by_day(MACS))
def test_macs(name, width, bare, whole):
    with torch.device("meta"):
        counted = _macs(zoo.build(name, width=width))
    assert counted == (bare, whole)


@pytest.mark.parametrize(("name", "count"), WIDTHS)
def test_numbers_of_independent_widths(name, count):
    assert len(zoo.table(name)) == count


def test_resnet34_has_its_36_convolutions_in_the_order_of_its_blocks():
    with torch.device("meta"):
        shapes = [p.shape for p in zoo.build("resnet34", width=16).parameters() if p.ndim == 4]
    assert len(shapes) == 36
    assert shapes[0] == (16, 3, 3, 3)
    assert [index for index, shape in enumerate(shapes) if shape[2] == 1] == [9, 18, 31]


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _macs(module: nn.Module) -> tuple[int, int]:
    """MACs of one 32x32 image, counted by hooks: without and with BatchNorm, ReLU and pooling."""
    bare, extra = [], []

    def conv(layer, inputs, output):
        bare.append(output.numel() * layer.weight[0].numel())

    def linear(layer, inputs, output):
        bare.append(layer.weight.numel())

    counters = {
        nn.Conv2d: conv,
        nn.Linear: linear,
        nn.BatchNorm2d: lambda layer, inputs, output: extra.append(2 * inputs[0].numel()),
        nn.ReLU: lambda layer, inputs, output: extra.append(output.numel()),
        nn.MaxPool2d: lambda layer, inputs, output: extra.append(inputs[0].numel()),
        nn.AdaptiveAvgPool2d: lambda layer, inputs, output: extra.append(inputs[0].numel()),
    }
    for layer in module.modules():
        if type(layer) in counters:
            layer.register_forward_hook(counters[type(layer)])
    module.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    return sum(bare), sum(bare) + sum(extra)
