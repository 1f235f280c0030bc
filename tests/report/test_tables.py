from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from chanc.analysis.layers import Layer
from chanc.report.tables import deps_table, layers_table, summary


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_the_group_table_fits_and_keeps_every_member(runs, width):
    text = printed(deps_table(runs.resnet(8)), width)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= width
    assert "change" in lines[0]
    row = next(i for i, line in enumerate(lines) if line.startswith("layer1.0.conv1.weight"))
    assert lines[row].split() == [
        "layer1.0.conv1.weight",
        "16",
        "1",
        "2",
        "layer1.0.conv1",
        "out",
        "1",
        "BatchNorm",
        "yes",
    ]
    assert lines[row + 1].split() == ["layer1.0.conv2", "in"]


def test_many_members_are_cut_with_their_number(runs):
    text = printed(deps_table(runs.resnet(40)), 160)
    # a stem, nine blocks of conv1 and conv2 in stage one, then conv1 and the shortcut of the next
    assert "23 stem out" in text
    assert "… 15 more" in text


def test_reasons_stand_below_the_table_once(runs):
    analysis = runs.resnet(8)
    groups = [
        dataclasses.replace(g, resizable=i % 3 > 0, reason="graph output" if i % 3 == 0 else "")
        for i, g in enumerate(analysis.groups)
    ]
    groups[1] = dataclasses.replace(groups[1], exact=False)
    text = printed(deps_table(dataclasses.replace(analysis, groups=tuple(groups))), 80)
    assert text.count("graph output") == 1
    assert text.count("no (1)") == 4
    assert "yes*" in text
    assert "* not exact" in text


def test_names_are_neither_markup_nor_terminal_codes(runs):
    analysis = runs.resnet(4, prefix="[red]\x1b[31m")
    text = printed(deps_table(analysis), 160)
    assert "\x1b" not in text
    assert "[red]\\x1b[31mstem.weight" in text


def test_the_summary_counts_params_by_what_pins_them(runs):
    analysis = runs.resnet(4)
    first, *others = analysis.groups
    held = dataclasses.replace(first, resizable=False, reason="graph input")
    only = [
        dataclasses.replace(g, operands=tuple(o for o in g.operands if "stem" not in o.initializer)) for g in others
    ]
    analysis = dataclasses.replace(analysis, groups=(held, *only), params=1234567, macs=89)
    lines = summary(analysis)
    assert lines[0] == "1,234,567 params"
    assert lines[1].startswith("89 MACs of convolutions and linear layers, ")
    assert lines[2] == "8 channel groups, 7 of them may change"
    # the stem's own weight and its norm, and the norm of the block that ends in its stream
    assert any(line.split() == ["560", "graph", "input"] for line in lines)
    free = {o.initializer for g in only for o in g.operands}
    sizes = {n: int(np.prod(v.const_value.shape.numpy())) for n, v in analysis.model.graph.initializers.items()}
    share = 100 * sum(sizes[name] for name in free) / sum(sizes.values())
    assert lines[3] == f"{share:.1f} % of the params lie in groups that may change"


def test_the_step_of_heads_says_so(runs):
    analysis = runs.resnet(8)
    groups = [dataclasses.replace(group, step=64, heads=True) for group in analysis.groups]
    text = printed(deps_table(dataclasses.replace(analysis, groups=tuple(groups))), 120)
    assert text.count("64 (head)") == len(groups)


def test_layers_stand_with_their_shares_and_what_is_not_known():
    layers = (Layer("Conv", "stem", "a", (1, 16, 8, 8), 300, 7_500, True), Layer("Odd", "[b]", "b", None, 0, 0, False),
              Layer("Gemm", "head", "c", (1, 10), 100, 2_500, True))  # fmt: skip
    head, *rows = (line.split() for line in printed(layers_table(layers), 100).splitlines())
    assert head == ["op", "name", "output", "params", "%", "MACs", "%"]
    assert rows == [
        ["Conv", "stem", "1", "16", "8", "8", "300", "75.0", "7,500", "75.0"],
        ["Odd", "[b]", "?", "0", "0.0", "?"],
        ["Gemm", "head", "1", "10", "100", "25.0", "2,500", "25.0"],
    ]
