from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from chanc.errors import ChancError  # noqa: E402
from chanc.frontends import zoo  # noqa: E402

ONE_A_STRUCTURE = [
    *("resnet18", "resnet50", "darts7", "dartsplus7", "vgg16", "mobilenetv2", "densenet-bc", "wrn22"),
    *("wrn22-1", "flexcharts20", "cnas:cells=3,nodes=2,ops=1"),
    *("mobilenetv3-large", "efficientnet-b0", "shufflenetv2", "googlenet"),
]
# More cells of the same kinds: by night.
DEEP = {"darts14", "darts20", "dartsplus14", "dartsplus20", "flexcharts20", "cnas", "cnas-densenet"}
NAMES = [pytest.param(name, marks=pytest.mark.nightly if name in DEEP else ())
         for name in (*zoo.names(), "cnas:cells=3,nodes=2,ops=1")]  # fmt: skip


def test_names_of_the_listing():
    assert zoo.names()[:12] == [
        *("resnet18", "resnet34", "resnet50", "resnet18-imagenet", "resnet34-imagenet", "resnet50-imagenet"),
        *("darts7", "darts14", "darts20", "dartsplus7", "dartsplus14", "dartsplus20"),
    ]
    assert {"vgg16", "mobilenetv2", "densenet-bc", "wrn22"} <= set(zoo.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_network_maps_images_to_logits(name):
    with torch.device("meta"):
        module = zoo.build(name, classes=7, channels=1).eval()
        assert module(torch.empty(3, 1, 32, 32)).shape == (3, 7)


@pytest.mark.parametrize("name", NAMES)
def test_widths_are_independent(name):
    """The network fits together when every width of its table is another one."""
    widths = {key: 4 + 2 * index for index, key in enumerate(zoo.table(name))}
    with torch.device("meta"):
        module = zoo.build(name, widths=widths).eval()
        assert module(torch.empty(1, 3, 32, 32)).shape == (1, 10)
    sizes = {size for parameter in module.parameters() for size in parameter.shape}
    assert sizes >= set(widths.values())


@pytest.mark.nightly
@pytest.mark.parametrize("name", ONE_A_STRUCTURE)
def test_every_width_can_be_set_alone(name):
    image = torch.empty(1, 3, 32, 32, device="meta")
    base = zoo.params(name, width=8)
    for key in zoo.table(name):
        with torch.device("meta"):
            module = zoo.build(name, width=8, widths={key: 10}).eval()
        assert module(image).shape == (1, 10), key
        assert sum(p.numel() for p in module.parameters()) > base, key


@pytest.mark.parametrize("name", NAMES)
def test_width_sets_every_width(name):
    table = zoo.table(name)
    assert zoo.params(name, width=12) == _params(name, dict.fromkeys(table, 12))
    assert zoo.params(name) == _params(name, table)


def _params(name: str, widths: dict[str, int]) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in zoo.build(name, widths=widths).parameters())


def test_single_widths_go_before_the_common_one():
    with torch.device("meta"):
        module = zoo.build("resnet18", width=16, widths={"stream2": 24, "layer3.1.inner": 5})
    assert module.layer2[1].conv2.weight.shape == (24, 16, 3, 3)
    assert module.layer3[1].conv1.weight.shape == (5, 16, 3, 3)
    assert module.conv1.weight.shape == (16, 3, 3, 3)


def test_auxiliary_head_reads_the_features_after_the_second_reduction():
    module = zoo.build("dartsplus7", width=8, aux=True).eval()
    with torch.no_grad():
        logits, auxiliary = module(torch.randn(2, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (2, 10)
    assert module.auxiliary.features[2].weight.shape == (8, 32, 1, 1)
    assert set(zoo.table("darts7", aux=True)) - set(zoo.table("darts7")) == {"auxiliary.1", "auxiliary.2"}


def test_channel_shuffle_interleaves_the_halves():
    from chanc.frontends.zoo.shufflenetv2 import shuffle

    channels = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert shuffle(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_same_seed_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in zoo.build("darts7", width=4).parameters()])

    with torch.random.fork_rng():
        assert torch.equal(weights(3), weights(3))
        assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet35", {}, r"no network 'resnet35'; it has resnet18, resnet34"),
        ("resnet18", {"width": 0}, r"width stream1 of resnet18 must be at least 1 channel, not 0"),
        ("resnet18", {"widths": {"stream9": 4}}, r"no width 'stream9'; it has stream1,"),
        ("resnet18", {"classes": 0}, "number of classes must be at least 1"),
        ("resnet18", {"channels": -1}, "number of image channels must be at least 1"),
        ("resnet18", {"aux": True}, "no auxiliary head"),
        ("darts7", {"width": 15}, "must be even, not 15"),
        ("shufflenetv2", {"width": 15}, "stream1 of shufflenetv2 must be even, not 15"),
    ],
)
def test_refusals_are_one_line(name, options, says):
    with pytest.raises(ChancError, match=says) as caught:
        zoo.build(name, **options)
    assert "\n" not in str(caught.value)


def test_names_need_no_torch(fresh):
    code = "import sys; from chanc.frontends import zoo, open_spec; zoo.names(); assert 'torch' not in sys.modules"
    assert fresh(code).returncode == 0


def test_all_widths_are_set_or_scaled_and_not_both():
    with pytest.raises(ChancError, match="all set to one width, or all scaled: not both"):
        zoo.build("darts7", width=8, scale=2.0)
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ChancError, match="the factor of all widths must be above 0"):
            zoo.scaled("darts7", factor)
    with torch.device("meta"):
        module = zoo.build("darts7", scale=2.0, widths={"stem": 10})
    assert module.stem[0].weight.shape[0] == 10
