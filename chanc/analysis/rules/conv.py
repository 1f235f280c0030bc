"""Convolutions (ONNX Conv, ConvTranspose; FusedConv): input channels are consumed, output channels are made.

Grouped: the input is seen as [groups, channels of a group], the output likewise, and a whole column goes at once, so
`group` stays. Depthwise, and wherever a group has a single channel, whole rows go: `group` follows.
"""

from __future__ import annotations

from chanc.analysis.dims import Dim, Size, multiply, unknown, window
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Factors, Field, Layout, Opaque, factors_of, plain
from chanc.analysis.rules import rule
from chanc.analysis.rules.elementwise import addend
from chanc.analysis.sweep import Sweep
from chanc.ir.initializers import constant_shape


@rule("Conv")
def conv(sweep: Sweep) -> None:
    """Conv: X [N, C, ...], W [O, C/group, ...], B [O] -> [N, O, ...]."""
    _convolve(sweep, bias=2)


@rule("FusedConv", domain="com.microsoft")
def fused_conv(sweep: Sweep) -> None:
    """FusedConv: a Conv, then an addend Z like the output, then an activation."""
    assert sweep.node is not None
    _convolve(sweep, bias=2)
    if sweep.value(3) is not None:
        result = sweep.layouts[sweep.node.outputs[0]]
        sweep.output(sweep.together([result, addend(sweep, 3, result)]))


@rule("DeformConv")
def deform_conv(sweep: Sweep) -> None:
    """DeformConv: X, W, offsets [N, 2 * kernel, ...], B, mask [N, kernel, ...]; one group of offsets for all."""
    for index in (2, 4):
        if sweep.value(index) is not None and not sweep.is_parameter(index):
            offsets = sweep.input(index)
            for axis in range(offsets.rank):
                offsets = sweep.fix(offsets, axis, "its values are positions")
    if sweep.integer("offset_group", 1) != 1:
        raise Opaque("its channels are sampled in groups")
    sweep.fix(sweep.input(0), 0, "each is sampled at places of its own")
    _convolve(sweep, bias=3)


def _convolve(sweep: Sweep, bias: int) -> None:
    group = sweep.integer("group", 1)
    data, weight, (outer, inner) = _operands(sweep, group)
    _check(data, inner * group, outer, group)
    if not weight.on(0):
        if _depthwise(sweep, data, weight, bias):
            return
        weight = sweep.parameter(1, (0,))
        if not weight.on(0):
            raise Opaque("its weight isn't floating point")
    made = _labels(weight, 0)
    sweep.mark(weight, 0, "producer")
    if group == 1 and sweep.is_parameter(1):
        take_up(sweep, data, 1, index=1, own=1)
    elif group == 1:
        consume(sweep, data, 1, _labels(weight, 1))
        sweep.mark(weight, 1, "consumer")
    elif sweep.mode("") == "rows":
        _rows(sweep, data, made, group)
        if outer == group and inner == 1:
            sweep.mark(weight, 0, "follower")
    else:
        _columns(sweep, data, _labels(weight, 1), group)
        spread(sweep, made, group)
        sweep.mark(weight, 1, "consumer")
    _finish(sweep, data, made, weight, bias=bias)


def _depthwise(sweep: Sweep, data: Layout, weight: Layout, bias: int) -> bool:
    """A kernel a channel: the channels stay what they are. False where the kernels have labels of their own."""
    found = sweep.project(data, 1)
    if found is None or not sweep.adopt(1, 0, found):
        return False
    _finish(sweep, data, found, weight, bias=bias)
    return True


@rule("ConvTranspose")
def conv_transpose(sweep: Sweep) -> None:
    """ConvTranspose: X [N, C, ...], W [C, O/group, ...], B [O] -> [N, O, ...]."""
    group = sweep.integer("group", 1)
    data, weight, (outer, inner) = _operands(sweep, group)
    _check(data, outer, inner * group, group)
    taken = _labels(weight, 0)
    consume(sweep, data, 1, taken)
    sweep.mark(weight, 1, "producer")
    if group == 1 or sweep.mode("") != "rows":
        sweep.mark(weight, 0, "consumer")
    if group == 1:
        made = _labels(weight, 1)
    elif sweep.mode("") == "rows":
        made = sweep.fresh(inner * group)
        spread_rows(sweep, taken, group)
        _rows_of(sweep, made, taken, group)
        sweep.mark(weight, 0, "follower" if outer == inner * group else "producer")
    else:
        made = sweep.fresh(inner * group)
        spread(sweep, taken, group)
        sweep.couple(made.reshape(group, -1), _labels(weight, 1)[None, :])
        sweep.cut(made, group, 1)
        sweep.beside(_labels(weight, 1), made.reshape(group, -1).T)
        sweep.row(made[: made.size // group], "one unit fills its groups")
    _finish(sweep, data, made, weight, bias=2, transposed=True)


def _operands(sweep: Sweep, group: int) -> tuple[Layout, Layout, tuple[int, int]]:
    """Data with fixed spatial axes, a weight with labels on the channel axes that can change, and their sizes.

    Where whole groups go the second axis of the weight keeps its size. A Conv in one group takes up its inputs itself,
    and so does a depthwise one, whose weight has no labels here.
    """
    data = _data(sweep, group)
    for axis in {axis for field in data.fields for axis in field.axes if axis > 1}:
        if not _slides(sweep, data, axis):
            data = sweep.fix(data, axis, "it varies along a spatial axis of a convolution")
    if sweep.is_parameter(1):
        value = sweep.value(1)
        assert value is not None and sweep.node is not None
        outer, inner = sweep.initializer(value).shape[:2]
        rows = group > 1 and sweep.mode("rows" if inner == 1 or outer == group else "columns") == "rows"
        turned = sweep.node.op_type == "ConvTranspose"
        axes: tuple[int, ...] = (0,) if rows or (group == 1 and not turned) else (0, 1)
        if rows and outer == group and inner == 1 and not turned:
            axes = ()
        weight = sweep.parameter(1, axes)
    else:
        weight = sweep.input(1)
        for axis in range(2, weight.rank):
            weight = sweep.fix(weight, axis, "it varies along a kernel axis")
        outer, inner = (int(str(n)) if not isinstance(n, Dim) else 0 for n in weight.sizes[:2])
        axes = (0, 1)
        if group > 1 and sweep.mode("rows" if inner == 1 or outer == group else "columns") == "rows":
            weight = sweep.fix(weight, 1, "whole groups go")
            axes = (0,)
        weight = _single(sweep, weight, axes)
    if data.rank < 3 or any(len(weight.on(k)) != 1 or len(weight.axes[k]) != 1 for k in axes):
        raise Opaque("its weight is computed from activations, or isn't floating point")
    if len(axes) == 2 and weight.on(0) == weight.on(1):
        raise Opaque("its weight is computed from activations")
    return data, weight, (outer, inner)


def _single(sweep: Sweep, weight: Layout, axes: tuple[int, ...]) -> Layout:
    """A computed weight whose axes of one channel have a label, which stays."""
    for axis in axes:
        if sweep.is_weight(1) and not weight.on(axis) and weight.size(axis) == 1:
            label = sweep.fresh(1)
            sweep.pin(label, "it is a single channel of a computed weight")
            factors = tuple((1,) if k == axis else old for k, old in enumerate(weight.axes))
            weight = Layout(factors, (*weight.fields, Field(((axis, 0),), label)), weight.why)
    return weight


def _slides(sweep: Sweep, data: Layout, axis: int) -> bool:
    """Whether channels lie along a spatial axis that keeps its size (ECA-Net): each is mixed with its neighbours."""
    if not data.on(axis):
        return False
    count, size = data.rank - 2, data.size(axis)
    weight = sweep.value(1)
    pure = all(field.axes == (axis,) for field in data.on(axis)) and len(data.axes[axis]) == 1
    if not pure or weight is None or weight.const_value is None or not isinstance(size, int):
        return False
    kernel = constant_shape(weight)[axis]
    stride = (sweep.integer_list("strides", [1] * count) or [1] * count)[axis - 2]
    dilation = (sweep.integer_list("dilations", [1] * count) or [1] * count)[axis - 2]
    same = stride == 1 and padding(sweep, axis - 2, count, size, kernel) == dilation * (kernel - 1)
    if same and sweep.node is not None and sweep.node.op_type == "Conv":
        for field in data.on(axis):
            sweep.mark_inexact(field.labels, "a convolution across channels")
        return True
    return False


def _data(sweep: Sweep, group: int) -> Layout:
    """The layout of X; where nothing is known of its shape, the rank and the channels are the weight's."""
    value = sweep.value(0)
    if value is None or value in sweep.layouts or value.const_value is not None or not sweep.is_parameter(1):
        return sweep.input(0)
    assert sweep.node is not None
    outer, inner, *kernel = sweep.parameter(1, ()).sizes
    taken = outer if sweep.node.op_type == "ConvTranspose" else multiply(inner, group)
    sizes = [unknown(f"{value.name}.{k}") for k in range(len(kernel) + 2)]
    return plain([sizes[0], taken, *sizes[2:]], f"'{value.name}', whose shape is not known")


def _labels(weight: Layout, axis: int) -> IntArray:
    labels = weight.on(axis)[0].labels
    # The array itself, not a view of it: axes that share one are looked at once.
    return labels if labels.ndim == 1 else labels.ravel()


def _check(data: Layout, given: int, made: int, group: int) -> None:
    size = data.size(1)
    if isinstance(size, int) and size != given:
        raise Opaque(f"its weight takes {given} channels but its input has {size}")
    if group < 1 or given % group or made % group:
        raise Opaque(f"{group} groups don't divide its channels")


def consume(sweep: Sweep, data: Layout, axis: int, labels: IntArray) -> None:
    """The channels on that axis of an activation are those that a weight's axis takes."""
    found = sweep.project(data, axis)
    if found is None:
        sweep.pin(labels, f"it takes {data.why or 'values that are not channels'}", tensor=_name(sweep, 0))
    else:
        sweep.same(labels, found)


def take_up(sweep: Sweep, data: Layout, axis: int, *, index: int, own: int) -> None:
    """The channels on that axis of an activation are those that axis `own` of an initializer input takes."""
    found = sweep.project(data, axis)
    if found is None or not sweep.adopt(index, own, found, "consumer"):
        weight = sweep.parameter(index, (own,))
        consume(sweep, data, axis, _labels(weight, own))
        sweep.mark(weight, own, "consumer")


def _rows(sweep: Sweep, data: Layout, made: IntArray, group: int) -> None:
    """A whole group goes: its input channels and its output channels."""
    found = sweep.project(data, 1)
    if found is None:
        sweep.pin(made, f"it takes {data.why or 'values that are not channels'}", tensor=_name(sweep, 0))
    elif found.size == made.size == group:
        sweep.same(made, found)
    else:
        _rows_of(sweep, made, found, group)
        spread_rows(sweep, found, group)


def _rows_of(sweep: Sweep, made: IntArray, found: IntArray, group: int) -> None:
    """Row g of what is made, seen as [group, columns], goes with row g of what is found."""
    sweep.couple(made.reshape(group, -1), found.reshape(group, -1)[:, :1])
    sweep.cut(made, group, 0)
    sweep.beside(made.reshape(group, -1), found.reshape(group, -1))


def _columns(sweep: Sweep, data: Layout, given: IntArray, group: int) -> None:
    """Channel j of every group goes at once."""
    found = sweep.project(data, 1)
    if found is None:
        sweep.pin(given, f"it takes {data.why or 'values that are not channels'}", tensor=_name(sweep, 0))
        return
    columns = found.reshape(group, -1)
    spread(sweep, found, group)
    sweep.same(given, columns[0])


def spread(sweep: Sweep, labels: IntArray, group: int) -> None:
    """Couple labels, seen as [group, columns], down the columns."""
    if group > 1:
        count = labels.size // group
        sweep.couple(labels[count:], labels[:-count])
        sweep.cut(labels, group, 1)
        sweep.row(labels[:count], "one unit fills its groups")


def spread_rows(sweep: Sweep, labels: IntArray, group: int) -> None:
    """Couple labels, seen as [group, columns], along the rows."""
    rows = labels.reshape(group, -1)
    if rows.shape[1] > 1:
        sweep.couple(rows[:, 1:], rows[:, :-1])
        sweep.cut(labels, group, 0)


def _finish(
    sweep: Sweep, data: Layout, made: IntArray, weight: Layout, *, bias: int, transposed: bool = False
) -> None:
    """Set the output: batch factors and fields of the data, the made channels, spatial sizes."""
    if sweep.value(bias) is not None and not (sweep.is_parameter(bias) and sweep.adopt(bias, 0, made)):
        vector = sweep.parameter(bias, (0,)) if sweep.is_parameter(bias) else sweep.input(bias)
        labels = sweep.project(vector, 0)
        if labels is None or labels.size != made.size:
            sweep.pin(made, "its bias is not understood")
        else:
            sweep.same(labels, made)
    spatial = _spatial(sweep, data, weight, transposed)
    axes: tuple[Factors, ...] = (data.axes[0], (made.size,), *spatial)
    batch = tuple(f for f in data.fields if not f.on(1))
    sweep.output(Layout(axes, (Field(((1, 0),), made), *batch)))


def _spatial(sweep: Sweep, data: Layout, weight: Layout, transposed: bool) -> list[Factors]:
    """The spatial axes of the output."""
    count = data.rank - 2
    strides = sweep.integer_list("strides") or [1] * count
    dilations = sweep.integer_list("dilations") or [1] * count
    pads = sweep.integer_list("pads") or [0] * 2 * count
    free = sweep.attribute("auto_pad", "NOTSET") != "NOTSET"
    varying = {axis for field in data.fields for axis in field.axes}
    result = []
    for k in range(count):
        size, kernel = data.size(k + 2), weight.size(k + 2)
        if k + 2 in varying:
            result.append(data.axes[k + 2])
        elif transposed or not isinstance(kernel, int):
            value = sweep.node.outputs[0] if sweep.node else None
            result.append(factors_of(_declared(sweep, k + 2) or unknown(f"{value.name if value else ''}.{k + 2}")))
        else:
            pad = padding(sweep, k, count, size, kernel) if free else pads[k] + pads[k + count]
            result.append(factors_of(window(size, kernel, strides[k], dilations[k], pad)))
    return result


def padding(sweep: Sweep, k: int, count: int, size: Size, kernel: int) -> int:
    """Begin plus end padding of spatial axis k, `auto_pad` resolved."""
    mode = sweep.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = sweep.integer_list("pads")
        return pads[k] + pads[k + count] if pads else 0
    stride = (sweep.integer_list("strides", [1] * count) or [1] * count)[k]
    dilation = (sweep.integer_list("dilations", [1] * count) or [1] * count)[k]
    span = dilation * (kernel - 1) + 1
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if isinstance(size, int):
            return max((-(-size // stride) - 1) * stride + span - size, 0)
        return span - 1
    return 0


def _declared(sweep: Sweep, axis: int) -> Size | None:
    assert sweep.node is not None
    shape = sweep.node.outputs[0].shape
    found = shape[axis] if shape is not None and len(shape) > axis else None
    return found if isinstance(found, int) and found > 0 else None


def _name(sweep: Sweep, index: int) -> str:
    value = sweep.value(index)
    return (value.name or "") if value is not None else ""
