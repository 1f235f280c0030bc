"""The counts of CNAS's search space, to the unit, as its paper's Table 1 has them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from chanc.errors import ChancError  # noqa: E402
from chanc.frontends import zoo  # noqa: E402
from chanc.frontends.zoo.cnas import Cell, Operation  # noqa: E402

TABLE_1 = [(20, 795, 328_995), (19, 646, 306_198), (18, 1_010, 361_890), (14, 5_233, 904_329), (7, 2_244, 207_684),
           (3, 284, 25_740), (2, 653, 39_753), (1, 905, 48_501)]  # fmt: skip
"""Cell from 1, its pruned inputs |x*|, its weights."""


@pytest.fixture(scope="module")
def published() -> nn.Module:
    with torch.device("meta"):
        return zoo.build("cnas")


def weights(module: nn.Module) -> int:
    """Without BatchNorm, as the paper counts."""
    return sum(p.numel() for p in module.parameters() if p.ndim > 1)


def operations(module: nn.Module) -> list[Operation]:
    return [part for part in module.modules() if isinstance(part, Operation)]


def test_inputs_outputs_and_params(published: nn.Module) -> None:
    assert sum(op.pointwise.in_channels for op in operations(published)) == 69_120
    assert sum(op.pointwise.out_channels for op in operations(published)) == 17_280
    assert weights(published.cells) == 9_880_704
    widths = zoo.table("cnas")
    assert (widths["stem"], [widths[f"cells.{cell}.z0"] for cell in (0, 5, 6, 12, 13, 19)]) == (
        108, [36, 36, 72, 72, 144, 144])  # fmt: skip
    steps = [int(69_120 * 0.9**k) for k in range(10)]
    assert steps[9] == 26_778


@pytest.mark.parametrize(("number", "inputs", "params"), TABLE_1)
def test_cells_of_table_1(published: nn.Module, number: int, inputs: int, params: int) -> None:
    """An input less is a depthwise filter and a column of the pointwise convolution less, in every operation."""
    cell = published.cells[number - 1]
    ops = operations(cell)
    filters = {dw.weight[0].numel() for op in ops for dw in (op.depthwise, op.inner) if dw is not None}
    columns = {op.pointwise.weight[:, 0].numel() for op in ops}
    assert (len(filters), len(columns)) == (1, 1)
    there = sum(op.pointwise.in_channels for op in ops)
    assert there == 40 * columns.copy().pop()
    assert weights(cell) - (there - inputs) * (filters.pop() + columns.pop()) == params


def test_the_papers_sparse_model(published: nn.Module) -> None:
    """Its 26,038 inputs and 4,548,078 params go together: whole numbers of inputs at each width, after nine steps."""
    ops = [op.pointwise for op in operations(published)]
    always = 9_880_704 - sum((9 + op.out_channels) * op.in_channels for op in ops)
    more, rest = divmod(4_548_078 - always - (9 + 36) * 26_038, 36)  # the inputs at 72, and three times those at 144
    assert rest == 0
    assert 0 < more < sum(op.in_channels * {36: 0, 72: 1, 144: 3}[op.out_channels] for op in ops)
    assert int(69_120 * 0.9**10) < 26_038 < int(69_120 * 0.9**9)
    assert round(4_548_078 / 9_880_704, 2) == 0.46


def test_reductions_have_a_stride_where_the_cells_inputs_are_read(published: nn.Module) -> None:
    for number, cell in enumerate(published.cells):
        strides = {(op.depthwise.stride[0], op.inner is None) for op in operations(cell)}
        assert strides == ({(2, True), (2, False)} if number in (6, 13) else {(1, True)})
    with torch.device("meta"):
        small = zoo.build("cnas:cells=4,nodes=2,ops=1,f=4").eval()
    sizes: list[torch.Size] = []
    for cell in small.cells:
        cell.register_forward_hook(lambda cell, given, out: sizes.append(out.shape))
    small(torch.empty(1, 3, 16, 16, device="meta"))
    assert [size[1:3] for size in sizes] == [(8, 16), (16, 8), (32, 4), (32, 4)]


def test_a_node_is_the_sum_of_what_its_operations_make_of_all_before_it() -> None:
    torch.manual_seed(0)
    cell = Cell({"d0": 2, "d1": 4, "z0": 3, "z1": 5}, 2, (6, 7), False, False).eval()
    before, last = torch.randn(1, 6, 4, 4), torch.randn(1, 7, 4, 4)
    with torch.no_grad():
        d = torch.cat((cell.preprocess0(before), cell.preprocess1(last)), dim=1)
        first = sum(op.bn(op.pointwise(op.depthwise(d.relu()))) for op in cell.nodes[0].ops)
        x = torch.cat((d, first), dim=1).relu()
        second = sum(op.bn(op.pointwise(op.depthwise(x))) for op in cell.nodes[1].ops)
        assert torch.allclose(cell(before, last), torch.cat((first, second), dim=1), atol=1e-6)


def test_forms() -> None:
    assert list(zoo.table("cnas:cells=1,nodes=2,f=4")) == ["stem", *(f"cells.0.{s}" for s in ("d0", "d1", "z0", "z1"))]
    assert zoo.table("cnas:cells=3,f=8")["stem"] == 24
    with torch.device("meta"):
        assert len(operations(zoo.build("cnas:cells=3,nodes=4,ops=3,f=2"))) == 36
    for wrong in ("cnas:cell=3", "cnas:cells=0", "cnas:cells", "cnas:f=-1"):
        with pytest.raises(ChancError, match="is no form of cnas: give cells, nodes, ops, f from 1 up"):
            zoo.table(wrong)
    with pytest.raises(ChancError, match="resnet34 has no forms"):
        zoo.table("resnet34:cells=3")


def by_hand(layers: int, growth: int) -> int:
    """Params of a DenseNet-BC for ten classes: convolutions, two a channel of each BatchNorm, the classifier."""
    channels, params = 2 * growth, 27 * 2 * growth
    for block in range(3):
        for _ in range(layers):
            params += 2 * channels + channels * 4 * growth  # norm, 1x1
            params += 2 * 4 * growth + 9 * 4 * growth * growth  # norm, 3x3
            channels += growth
        if block < 2:
            params, channels = params + 2 * channels + channels * (channels // 2), channels // 2
    return params + 2 * channels + 10 * channels + 10


def test_densenet_of_19_layers_a_block() -> None:
    """1.02 M params; the 0.8 M of the paper are those of 16. Each bottleneck reads 12 more than the one before."""
    assert zoo.params("cnas-densenet") == by_hand(19, 12) == 1_020_550
    assert zoo.params("cnas-densenet:layers=16") == zoo.params("densenet-bc") == by_hand(16, 12) == 769_162
    assert (by_hand(19, 28), by_hand(16, 28)) == (5_441_390, 4_100_330)
    with torch.device("meta"):
        blocks = zoo.build("cnas-densenet").blocks
    first = [layer.conv1.in_channels for layer in blocks["block1"]]
    assert first == [24 + 12 * k for k in range(19)]
