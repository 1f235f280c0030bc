"""What is unknown on one axis is unknown on that axis only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from chanc.analysis import Analysis, analyze
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

Idiom = Callable[..., Analysis]
SEQUENCE = "float[2,T,6] x"
MLP = {"w1": (6, 16), "w2": (16, 5)}


@pytest.mark.parametrize("bounds", ["zero, t", "t, many", "zero, less"])
def test_a_table_cut_by_a_runtime_length(idiom: Idiom, bounds: str) -> None:
    """Learned positions: only the axis of the positions is cut."""
    start, end = bounds.split(", ")
    mean = "pm = ReduceMean<axes=[1], keepdims=1>(pick)\n u = Add(h, pm)"
    second = "u = Add(h, pick)" if bounds == "zero, t" else mean
    idiom(
        f"""
        h = MatMul(x, w1)
        t = Shape<start=1, end=2>(x)
        less = Sub(t, one)
        pick = Slice(pos, {start}, {end}, one)
        {second}
        r = Relu(u)
        y = MatMul(r, w2)
        """,
        {**MLP, "pos": (1, 80, 16), "zero": np.array([0]), "one": np.array([1]), "many": np.array([1 << 40])},
        {"w1": (16, 1)}, inputs=SEQUENCE, pinned={"pos:1": "channels are cut at an unknown place"},
    )  # fmt: skip


def test_channels_cut_by_a_runtime_length(idiom: Idiom) -> None:
    """Channels themselves are cut: they stay, what comes after doesn't mind."""
    idiom(
        """
        h = MatMul(x, w1)
        t = Shape<start=1, end=2>(x)
        c = Slice(h, zero, t, two)
        s = ReduceMean<axes=[2], keepdims=1>(c)
        g = MatMul(s, w3)
        y = MatMul(g, w2)
        """,
        {"w1": (6, 80), "w3": (1, 16), "w2": (16, 5), "zero": np.array([0]), "two": np.array([2])},
        {"w3": (16, 1)}, inputs=SEQUENCE, pinned={"w1": "channels are cut at an unknown place"},
    )  # fmt: skip


def test_same_padding_of_an_open_image(idiom: Idiom) -> None:
    """TensorFlow's SAME: the amounts are computed from height and width, clipped at 0, halved."""
    idiom(
        """
        a = Conv(x, w1)
        r = Relu(a)
        hw = Shape<start=2>(r)
        up = Add(hw, one)
        out = Div(up, two)
        last = Sub(out, one)
        reach = Mul(last, two)
        span = Add(reach, three)
        lack = Sub(span, hw)
        all = Max(lack, none)
        before = Div(all, two)
        after = Sub(all, before)
        pads = Concat<axis=0>(none, before, none, after)
        p = Pad(r, pads)
        b = Conv<strides=[2, 2]>(p, w2)
        s = Relu(b)
        y = Conv(s, w3)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (8, 6, 3, 3), "w3": (5, 8, 1, 1), "one": np.array([1]), "two": np.array([2]),
            "three": np.array([3]), "none": np.array([0, 0]),
        },
        {"w1": (6, 1), "w2": (8, 1)}, inputs="float[N,3,H,W] x",
    )  # fmt: skip


def test_same_padding_rounded_in_floats(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        hw = Shape<start=2>(a)
        f = Cast<to=1>(hw)
        half = Div(f, two)
        up = Ceil(half)
        most = Mul(up, two)
        lack = Sub(most, f)
        i = Cast<to=7>(lack)
        pads = Concat<axis=0>(none, none, none, i)
        p = Pad(a, pads)
        b = Conv<strides=[2, 2]>(p, w2)
        y = Conv(b, w3)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (8, 6, 2, 2), "w3": (5, 8, 1, 1), "two": np.array([2, 2], np.float32),
            "none": np.array([0, 0]),
        },
        {"w1": (6, 1), "w2": (8, 1)}, inputs="float[N,3,H,W] x",
    )  # fmt: skip


AMOUNTS = {
    "tile": "reps = Concat<axis=0>(one, some, one)\n t = Tile(h, reps)",
    "pad": "pads = Concat<axis=0>(none, none, none, none, some, none)\n t = Pad(h, pads)",
    "split": "rest = Sub(len, some)\n parts = Concat<axis=0>(some, rest)\n t, m = Split<axis=1>(h, parts)",
    "expand": "o = ReduceMax<axes=[1], keepdims=1>(h)\n to = Concat<axis=0>(one, some, one)\n t = Expand(o, to)",
}


@pytest.mark.parametrize("body", AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_that_only_running_tells(idiom: Idiom, body: str) -> None:
    """The count of positive inputs says how much, along the positions; channels are as they were."""
    idiom(
        f"""
        h = MatMul(x, w1)
        flags = Greater(x, zero)
        counts = Cast<to=7>(flags)
        all = ReduceMax<keepdims=0>(counts)
        some = Reshape(all, one)
        len = Shape<start=1, end=2>(x)
        {body}
        u = ReduceMean<axes=[1], keepdims=1>(t)
        r = Relu(u)
        y = MatMul(r, w2)
        """,
        {**MLP, "zero": np.float32(0), "one": np.array([1]), "none": np.array([0])},
        {"w1": (16, 1)}, inputs=SEQUENCE,
    )  # fmt: skip


def test_a_reshape_says_how_long_an_open_axis_is() -> None:
    """Exporters write one length into the graph: [T, 2, 16] seen as [24, 8, 4] has 24 positions."""
    model = build(
        "float[T,2,6] x", "float y",
        """
        h = MatMul(x, w1)
        v = Reshape(h, heads)
        s = Transpose<perm=[1, 0, 2]>(v)
        k = Transpose<perm=[1, 2, 0]>(v)
        a = MatMul(s, k)
        p = Softmax<axis=-1>(a)
        m = MatMul(p, s)
        b = Transpose<perm=[1, 0, 2]>(m)
        w = Reshape(b, back)
        y = MatMul(w, w2)
        """,
        {**MLP, "heads": np.array([24, 8, 4]), "back": np.array([-1, 2, 16])},
    )  # fmt: skip
    assert {g.id: (g.size, g.step) for g in analyze(model).groups if g.resizable} == {"w1": (16, 4)}
    assert rewrite(model, scale=0.5).trace.groups["w1"] == (16, 8)


def shapeless(body: str) -> onnx.ModelProto:
    model = build("float[2,4,6] x", "float y", body, MLP)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("body", [
    "t = Transpose<perm=[0, 1, 2]>(x)\n h = MatMul(t, w1)\n r = Relu(h)\n y = MatMul(r, w2)",
    "h = MatMul(x, w1)\n r = Relu(h)\n y = MatMul(r, w2)",
    "s = Squeeze(x)\n h = MatMul(s, w1)\n r = Softmax(h)\n y = MatMul(r, w2)",
    "f = Flatten<axis=2>(x)\n h = Gemm(f, w1)\n r = Relu(h)\n y = Gemm(r, w2)",
])  # fmt: skip
def test_an_input_without_a_shape(body: str) -> None:
    """What meets it is pinned where not even its rank is told, nothing stumbles; with a shape all may change."""
    model = shapeless(body)
    assert any(group.resizable for group in analyze(model).groups) == ("Transpose" in body)
    given = analyze(model, shapes={"x": [2, 4, 6]})
    assert [group.id for group in given.groups if group.resizable] == ["w1"]


def test_only_what_meets_the_unknown_is_pinned() -> None:
    model = build("float[2,4,6] x, float[2,4,16] z", "float y, float u",
                  "h = MatMul(x, w1)\n y = MatMul(h, w2)\n k = Relu(z)\n v = MatMul(x, w3)\n u = Add(v, k)",
                  {**MLP, "w3": (6, 16)})  # fmt: skip
    model.graph.input[1].type.tensor_type.ClearField("shape")
    assert [group.id for group in analyze(model).groups if group.resizable] == ["w1"]


@pytest.mark.parametrize(("start", "free"), [(1, False), (0, True)])
def test_a_size_that_depends_on_a_width_keeps_it(start: int, free: bool) -> None:
    """The square root of the number of features of a sample, or of the batch, is a temperature."""
    model = build(
        "float[N,T,6] x", "float y",
        f"""
        h = MatMul(x, w1)
        f = Reshape(h, flat)
        n = Shape<start={start}, end={start + 1}>(f)
        m = Max(n, hundred)
        z = ConstantOfShape(m)
        k = ReduceSum<keepdims=0>(z)
        g = MatMul(h, w2)
        y = Add(g, k)
        """,
        {**MLP, "flat": np.array([0, -1]), "hundred": np.array([100])},
    )  # fmt: skip
    group = analyze(model).group("w1")
    assert group.resizable == free
    if not free:
        assert "a size is computed from its width" in group.reason


def test_a_width_beside_an_unknown_stays_a_number() -> None:
    """The longer of 16 (a width) and T positions: 16 is written down, and no longer follows the width."""
    model = build(
        SEQUENCE, "float y",
        """
        h = MatMul(x, w1)
        c = Shape<start=2>(h)
        t = Shape<start=1, end=2>(h)
        m = Max(c, t)
        z = ConstantOfShape<value=float[1] {0.01}>(m)
        k = ReduceSum<keepdims=0>(z)
        g = MatMul(h, w2)
        y = Add(g, k)
        """, MLP,
    )  # fmt: skip
    assert [group.id for group in analyze(model).groups if group.resizable] == ["w1"]
    check_shrink(model)
    check_widen(model)


def test_windows_of_an_open_image(idiom: Idiom) -> None:
    """Swin pads height and width to whole windows, cuts them and puts them together: channels stay apart from that."""
    idiom(
        """
        a = Conv(x, w1)
        nhwc = Transpose<perm=[0, 2, 3, 1]>(a)
        n = Shape<end=1>(nhwc)
        hw = Shape<start=1, end=3>(nhwc)
        over = Mod(hw, four)
        short = Sub(four, over)
        lack = Mod(short, four)
        pads = Concat<axis=0>(none, lack, zero)
        p = Pad(nhwc, pads)
        full = Shape<start=1, end=3>(p)
        count = Div(full, four)
        h, w = Split<axis=0>(count, ones)
        cut = Concat<axis=0>(n, h, side, w, side, six)
        v = Reshape(p, cut)
        t = Transpose<perm=[0, 1, 3, 2, 4, 5]>(v)
        windows = Reshape(t, flat)
        m = MatMul(windows, w2)
        r = Relu(m)
        o = MatMul(r, w3)
        wide = Concat<axis=0>(n, h, w, side, side, six)
        u = Reshape(o, wide)
        back = Transpose<perm=[0, 1, 3, 2, 4, 5]>(u)
        whole = Concat<axis=0>(n, full, six)
        image = Reshape(back, whole)
        b = Transpose<perm=[0, 3, 1, 2]>(image)
        y = Conv(b, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (6, 8), "w3": (8, 6), "w4": (5, 6, 1, 1), "four": np.array([4, 4]),
            "none": np.array([0, 0, 0, 0, 0]), "zero": np.array([0]), "ones": np.array([1, 1]), "side": np.array([4]),
            "six": np.array([6]), "flat": np.array([-1, 16, 6]),
        },
        {"w1": (6, 1), "w2": (8, 1), "w3": (6, 1)}, inputs="float[N,3,H,W] x",
    )  # fmt: skip


def test_a_table_that_is_written_over(idiom: Idiom) -> None:
    """Sines are written into every other column of zeros of an open length: what they meet stays, nothing else."""
    idiom(
        """
        h = MatMul(x, w1)
        t = Shape<start=1, end=2>(x)
        size = Concat<axis=0>(t, width)
        z = ConstantOfShape(size)
        n = ReduceMean<axes=[0, 2], keepdims=0>(x)
        rows = Range(zero, len, step)
        where = Unsqueeze(rows, last)
        line = Unsqueeze(n, last)
        ones = Expand(one, size)
        sines = Mul(line, ones)
        pe = ScatterND(z, where, sines)
        u = Add(h, pe)
        f = MatMul(u, w3)
        r = Relu(f)
        y = MatMul(r, w4)
        """.replace("rows = Range", "len = Squeeze(t)\n        rows = Range"),
        {
            "w1": (6, 16), "w3": (16, 12), "w4": (12, 5), "width": np.array([16]), "zero": np.array(0),
            "step": np.array(1), "last": np.array([-1]), "one": np.float32(1),
        },
        {"w3": (12, 1)}, inputs=SEQUENCE, pinned={"w1": "it is combined with"},
    )  # fmt: skip


@pytest.mark.parametrize("cut", ["Slice(h, zero, t, two)", "Gather<axis=2>(h, last)"])
def test_a_size_given_says_nothing_of_where_channels_are_cut(cut: str) -> None:
    """At 8 positions the first 8 channels are read, or the one before the eighth: at others it would be others."""
    model = build(
        SEQUENCE, "float y",
        f"""
        h = MatMul(x, w1)
        t = Shape<start=1, end=2>(x)
        last = Sub(t, one)
        c = {cut}
        s = ReduceMean<axes=[2], keepdims=1>(c)
        g = MatMul(s, w3)
        y = MatMul(g, w2)
        """,
        {
            "w1": (6, 16), "w3": (1, 12), "w2": (12, 5), "zero": np.array([0]), "one": np.array([1]),
            "two": np.array([2]),
        },
    )  # fmt: skip
    found = analyze(model, dims={"T": 8})
    assert [group.id for group in found.groups if group.resizable] == ["w3"]
    made = rewrite(model, {"w3": 6}, dims={"T": 8}).model
    assert [dim.dim_param for dim in made.graph.input[0].type.tensor_type.shape.dim][1] == "T"
