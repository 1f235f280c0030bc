"""A module resized in place: the same network as one built from the rewritten model, and training goes on."""

from __future__ import annotations

import copy
import functools

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import build
from chanc.errors import ModelError
from chanc.ir import load
from chanc.ir.normalize import normalize
from chanc.rewriter import rewrite
from chanc.testing import blocks
from chanc.testing.graphs import Graph

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from chanc.backends.torch.resize import resize_module  # noqa: E402
from chanc.training.ema import Ema  # noqa: E402

NETWORKS = {"resnet18": 8, "mobilenetv2": 8, "efficientnet-b0": 8, "densenet-bc": 4}
NIGHTLY = {"efficientnet-b0", "densenet-bc"}  # "joined" has what is special to them
RESIZABLE = [pytest.param(name, marks=pytest.mark.nightly if name in NIGHTLY else ()) for name in [*NETWORKS, "joined"]]
SGD = {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}


@pytest.fixture(scope="module")
def normal_form(zoo_model):
    """The normal form of a zoo network or of a small graph, made once."""
    small = {"joined": joined, "shuffled": shuffled}

    @functools.cache
    def make(name):
        model = small[name]() if name in small else load(zoo_model(name, width=NETWORKS[name]))
        normalize(model)
        infer_shapes(model)
        return model

    return make


def joined():
    """Channels from two layers under one norm, as in DenseNet, squeezed and excited, as in EfficientNet."""
    graph = Graph()
    x = graph.input("x", [2, 3, 32, 32], dynamic={0: "n"}).conv(8, stride=4, bias=False)
    x = x.concat(x.bn().relu().conv(4, bias=False)).bn().relu()
    x = blocks.squeeze_excite(x.conv(12, 1).bn().sigmoid(), 4).depthwise().bn()
    return graph.ir(x.conv(8, 1).gap().flatten().gemm(10))


def shuffled():
    """A channel shuffle, whose Reshape holds a number of channels."""
    graph = Graph()
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"}).conv(8).relu()
    return graph.ir(blocks.shuffle(x, 2).conv(6).gap().flatten().gemm(10))


def batch(number, size=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(size, 3, 32, 32, dtype=dtype, generator=generator)
    return images, torch.randint(0, 10, (size,), generator=generator)


def train(module, optimizer, numbers, ema=None):
    losses = []
    module.train()
    for number in numbers:
        images, labels = batch(number)
        loss = F.cross_entropy(module(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if ema is not None:
            ema.update()
        losses.append(loss.item())
    return losses, loss  # the last loss keeps its graph alive, as a loop's variable does


def logits(module, size=3):
    with torch.no_grad():
        return module.eval()(batch(99, size, next(module.parameters()).dtype)[0])


def same_state(a, b, tolerance=0.0):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for key, value in a.items():
        if "num_batches" not in key:
            assert value.shape == b[key].shape, key
            assert torch.allclose(value.double(), b[key].double(), rtol=0, atol=tolerance), key


@pytest.mark.parametrize("name", RESIZABLE)
def test_shrunk_in_place_is_what_build_makes_of_the_rewritten_model(name, normal_form):
    model = normal_form(name)
    built, rewritten = build(model), rewrite(model, scale=0.5)
    identities = {key: id(value) for key, value in built.module.named_parameters()}
    resized, fresh = resize_module(built, model, rewritten), build(rewritten.model)
    assert resized.module is built.module
    assert identities == {key: id(value) for key, value in resized.module.named_parameters()}
    same_state(resized.module, fresh.module)
    assert torch.allclose(logits(resized.module), logits(fresh.module), rtol=0, atol=1e-6)
    assert (resized.source, resized.bindings) == (fresh.source, fresh.bindings)
    for path, layer in fresh.module.named_modules():
        sizes = {k: v for k, v in vars(layer).items() if isinstance(v, int | tuple) and k != "training"}
        mine = vars(resized.module.get_submodule(path))
        assert {k: mine[k] for k in sizes} == sizes, path


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_grown_copies_equal_build(name, normal_form):
    """`copy` does what the transfer `select` does: sources repeated, their consumers zero."""
    model = normal_form(name)
    rewritten = rewrite(model, scale=1.5, transfer="select")
    resized = resize_module(build(model), model, rewritten, grow="copy")
    same_state(resized.module, build(rewritten.model).module)


@pytest.mark.parametrize(
    ("name", "grow"),
    [
        ("resnet18", "init"), ("resnet18", "zero"), ("mobilenetv2", "copy"), ("joined", "init"),
        pytest.param("efficientnet-b0", "init", marks=pytest.mark.nightly),
    ],
)  # fmt: skip
def test_growing_keeps_the_function(name, grow, normal_form):
    model = normal_form(name)
    built = build(model)
    before = logits(built.module)
    resize_module(built, model, rewrite(model, scale=1.5), grow=grow)
    assert torch.allclose(logits(built.module), before, rtol=0, atol=1e-5 * float(before.abs().max()))


def leading(old, new):
    """What a hand would keep when the first half of every group stays."""
    return old[tuple(slice(size) for size in new.shape)].clone()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet18", "SGD"), ("mobilenetv2", "Adam"),
        pytest.param("resnet18", "Adam", marks=pytest.mark.nightly),
        pytest.param("mobilenetv2", "SGD", marks=pytest.mark.nightly),
    ],
)  # fmt: skip
def test_ten_steps_after_a_shrink_equal_those_of_a_narrow_twin(name, kind, normal_form):
    model = normal_form(name)
    rewritten = rewrite(model, scale=0.5, importance="first")
    built = build(model)
    make = {"SGD": lambda p: torch.optim.SGD(p, **SGD), "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True)}
    optimizer = make[kind](built.module.double().parameters())
    _, alive = train(built.module, optimizer, range(2))
    wide = {key: value.clone() for key, value in built.module.state_dict().items()}
    names = {id(value): key for key, value in built.module.named_parameters()}
    states = {names[id(p)]: copy.deepcopy(state) for p, state in optimizer.state.items()}

    narrow = build(rewritten.model).module.double()
    narrow.load_state_dict({key: leading(wide[key], value) for key, value in narrow.state_dict().items()})
    twin = make[kind](narrow.parameters())
    for key, parameter in narrow.named_parameters():
        for entry, value in states[key].items():
            twin.state[parameter][entry] = leading(value, parameter) if value.ndim else value

    resized = resize_module(built, model, rewritten, optimizer=optimizer)
    same_state(resized.module, narrow)
    assert train(resized.module, optimizer, range(2, 12))[0] == pytest.approx(
        train(narrow, twin, range(2, 12))[0], rel=1e-10
    )
    same_state(resized.module, narrow, 1e-10)
    mine = dict(resized.module.named_parameters())
    for key, parameter in narrow.named_parameters():
        for entry, value in twin.state[parameter].items():
            assert torch.allclose(optimizer.state[mine[key]][entry], value, rtol=0, atol=1e-10), (key, entry)
    assert alive.grad_fn is not None


def first_copies(rewritten):
    """Group id -> the channels of the grown group that are no copies."""
    by_name = {operand.initializer: operand.axes for operand in rewritten.trace.operands}
    return {
        group: {"keep": np.unique(by_name[group][0], return_index=True)[1].tolist()} for group in rewritten.trace.groups
    }


def test_growing_then_shrinking_is_the_identity_to_the_bit(normal_form):
    model = normal_form("mobilenetv2")
    built = build(model)
    optimizer = torch.optim.SGD(built.module.double().parameters(), **SGD)
    ema = Ema(built.module, 0.9)
    train(built.module, optimizer, range(2), ema)
    before = {key: value.clone() for key, value in built.module.state_dict().items()}
    momentum = [optimizer.state[p]["momentum_buffer"].clone() for p in built.module.parameters()]
    averages = copy.deepcopy(ema.state_dict())

    grown = rewrite(model, scale=1.5)
    wide = resize_module(built, model, grown, optimizer=optimizer, ema=ema)
    assert wide.module.get_submodule("stem.conv").out_channels == 12
    buffer = optimizer.state[wide.module.get_submodule("stem.conv").weight]["momentum_buffer"]
    assert buffer.shape[0] == 12
    assert (buffer.flatten(1) == 0).all(1).sum() == 4
    back = resize_module(wide, grown.model, rewrite(grown.model, first_copies(grown)), optimizer=optimizer, ema=ema)

    for key, value in back.module.state_dict().items():
        assert torch.equal(value, before[key]), key
    for parameter, value in zip(back.module.parameters(), momentum, strict=True):
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], value)
    assert ema.state_dict()["updates"] == averages["updates"]
    for key, value in ema.state_dict()["shadow"].items():
        assert torch.equal(value, averages["shadow"][key]), key


def test_what_new_units_start_with(normal_form):
    """Scale 1, shift 0, mean 0, variance 1; random rows; columns 0; Adam's second moment the layer's mean."""
    model = normal_form("resnet18")
    built = build(model)
    optimizer = torch.optim.Adam(built.module.double().parameters(), lr=1e-3)
    ema = Ema(built.module, 0.9)
    train(built.module, optimizer, range(2), ema)
    conv, norm = built.module.get_submodule("layer1.0.conv1"), built.module.get_submodule("layer1.0.bn1")
    after = built.module.get_submodule("layer1.0.conv2")
    mean = optimizer.state[conv.weight]["exp_avg_sq"].mean()
    grown = rewrite(model, {"layer1.0.conv1.weight": 12})
    resize_module(built, model, grown, optimizer=optimizer, ema=ema)
    axis = next(o.axes[0] for o in grown.trace.operands if o.initializer == "layer1.0.conv1.weight")
    new = np.setdiff1d(np.arange(12), np.unique(axis, return_index=True)[1])
    assert (norm.weight[new] == 1).all()
    assert (norm.bias[new] == 0).all()
    assert (norm.running_mean[new] == 0).all()
    assert (norm.running_var[new] == 1).all()
    assert not (norm.running_mean == 0).all()
    rows = conv.weight[new].detach()
    assert 0 < float(rows.abs().max()) <= 1 / np.sqrt(8 * 9)  # torch's init of a convolution is uniform
    assert len({row.sum().item() for row in rows}) == len(new)
    assert (after.weight[:, new] == 0).all()
    assert not (after.weight == 0).all()
    state = optimizer.state[conv.weight]
    assert (state["exp_avg"][new] == 0).all()
    assert torch.allclose(state["exp_avg_sq"][new], mean)
    assert torch.equal(ema.state_dict()["shadow"]["layer1.0.conv1.weight"][new], rows)
    losses, _ = train(built.module, optimizer, range(2, 8), ema)
    assert all(np.isfinite(losses))
    assert not (after.weight[:, new] == 0).all()


def test_a_forward_that_holds_sizes_is_refused_and_untouched(normal_form):
    model = normal_form("shuffled")
    built = build(model)
    before = {key: value.clone() for key, value in built.module.state_dict().items()}
    with pytest.raises(ModelError, match=r"forward of Reshape .* holds sizes that change"):
        resize_module(built, model, rewrite(model, scale=0.5))
    assert all(torch.equal(value, before[key]) for key, value in built.module.state_dict().items())


def test_another_model_is_refused(normal_form):
    model = normal_form("resnet18")
    other = rewrite(model, scale=0.5)
    with pytest.raises(ModelError, match="not made from this model"):
        resize_module(build(model), other.model, rewrite(other.model, scale=0.5))
    with pytest.raises(ValueError, match="no way to grow"):
        resize_module(build(model), model, other, grow="dream")


def test_trained_weights_come_home_into_the_rewritten_model(normal_form):
    model = normal_form("resnet18")
    rewritten = rewrite(model, scale=0.5)
    resized = resize_module(build(model), model, rewritten)
    with torch.no_grad():
        for parameter in resized.module.parameters():
            parameter.mul_(1.5)
    resized.write_back(rewritten.model)
    same_state(build(rewritten.model).module, resized.module)


def test_memory_format_and_dtype_stay(normal_form):
    model = normal_form("resnet18")
    built = build(model)
    built.module.to(memory_format=torch.channels_last, dtype=torch.bfloat16)
    for scale in (0.5, 1.5):
        again = build(model)
        again.module.to(memory_format=torch.channels_last, dtype=torch.bfloat16)
        weight = resize_module(again, model, rewrite(model, scale=scale)).module.get_submodule("layer1.0.conv1").weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert weight.dtype == torch.bfloat16


def graph_of(nodes, shapes, x, y, opset=21):
    """A normal form from nodes, shapes of random weights, and the shapes of its input and output."""
    import onnx
    from onnx import helper, numpy_helper

    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, x)], [helper.make_tensor_value_info("y", 1, y)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(proto)
    model = ir.serde.deserialize_model(proto)
    normalize(model)
    infer_shapes(model)
    return model


@pytest.fixture
def mixed():
    """Conv, GroupNorm, PReLU, Gemm, LayerNorm and MatMul: sizes that other layers keep, weights stored transposed."""
    from onnx import helper

    shapes = {
        "conv.weight": (8, 3, 3, 3), "conv.bias": (8,), "gn.weight": (8,), "gn.bias": (8,), "slope": (8, 1, 1),
        "fc.weight": (8, 6), "fc.bias": (6,), "ln.weight": (6,), "ln.bias": (6,), "head.weight": (5, 6),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("GroupNormalization", ["a", "gn.weight", "gn.bias"], ["b"], num_groups=4),
        helper.make_node("PRelu", ["b", "slope"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["f"]),
        helper.make_node("LayerNormalization", ["f", "ln.weight", "ln.bias"], ["g"]),
        helper.make_node("Transpose", ["head.weight"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["g", "t"], ["y"]),
    ]
    return graph_of(nodes, shapes, ["n", 3, 32, 32], ["n", 5])


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_every_kind_of_layer_keeps_its_sizes(scale, mixed):
    rewritten = rewrite(mixed, scale=scale, transfer="select")
    resized, fresh = resize_module(build(mixed), mixed, rewritten, grow="copy"), build(rewritten.model)
    same_state(resized.module, fresh.module)
    assert torch.allclose(logits(resized.module), logits(fresh.module), rtol=0, atol=1e-6)
    assert str(resized.module) == str(fresh.module)  # the sizes that layers print are their attributes
    assert str(resized.module) != str(build(mixed).module)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_gates_of_recurrent_layers_follow(op, gates, scale):
    """ONNX stacks the gates in another order than torch, and both biases in one tensor."""
    from onnx import helper

    shapes = {
        "pre": (3, 6), "w": (1, 4 * gates, 6), "r": (1, 4 * gates, 4), "b": (1, 8 * gates), "head": (4, 5),
    }  # fmt: skip
    options = {"linear_before_reset": 1} if op == "GRU" else {}  # the other GRU has no torch layer
    nodes = [
        helper.make_node("MatMul", ["x", "pre"], ["p"]),
        helper.make_node(op, ["p", "w", "r", "b"], ["", "h"], hidden_size=4, **options),
        helper.make_node("Squeeze", ["h"], ["s"]),
        helper.make_node("MatMul", ["s", "head"], ["y"]),
    ]
    model = graph_of(nodes, shapes, [7, 2, 3], [2, 5])
    rewritten = rewrite(model, scale=scale, transfer="select")
    resized, fresh = resize_module(build(model), model, rewritten, grow="copy"), build(rewritten.model)
    same_state(resized.module, fresh.module)
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resized.module(x), fresh.module(x), rtol=0, atol=1e-6)
    grown = resize_module(build(model), model, rewritten)
    if scale > 1:
        assert torch.allclose(grown.module(x), build(model).module(x), rtol=0, atol=1e-5)


def test_a_bare_matrix_that_mixes_channels_grows_by_columns_of_zeros():
    """An Einsum's equation says along which axis it reads channels."""
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Einsum", ["a", "v"], ["y"])]
    nodes[1].attribute.append(helper.make_attribute("equation", "ni,io->no"))
    model = graph_of(nodes, {"w": (3, 4), "v": (4, 5)}, [2, 3], [2, 5])
    half, double = rewrite(model, {"w": 2}), rewrite(model, {"w": 8})
    same_state(resize_module(build(model), model, half).module, build(half.model).module)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    grown = resize_module(build(model), model, double)
    assert torch.allclose(grown.module(x), build(model).module(x), rtol=0, atol=1e-6)


def test_what_is_no_weight_can_shrink_but_not_grow():
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Max", ["a", "v"], ["b"])]
    nodes.append(helper.make_node("MatMul", ["b", "u"], ["y"]))
    model = graph_of(nodes, {"w": (3, 4), "v": (4,), "u": (4, 5)}, [2, 3], [2, 5])
    half, double = rewrite(model, {"w": 2}), rewrite(model, {"w": 8})
    same_state(resize_module(build(model), model, half).module, build(half.model).module)
    with pytest.raises(ModelError, match=r"can't grow in place: input 1 of Max"):
        resize_module(build(model), model, double)


def test_adas_goes_on_after_a_resize(normal_form):
    """It keeps the convolutions' weights for its measurements: they are the same objects."""
    from chanc.training.adas import AdaS

    model = normal_form("resnet18")
    built = build(model)
    optimizer = AdaS(built.module.double(), lr=0.01)
    train(built.module, optimizer, range(1))
    optimizer.step_epoch()
    resize_module(built, model, rewrite(model, scale=0.5), optimizer=optimizer)
    train(built.module, optimizer, range(1, 2))
    gain = dict(optimizer.gain)
    optimizer.step_epoch()
    assert optimizer.gain.keys() == gain.keys()
    buffers = [optimizer.state[parameter]["momentum_buffer"] for parameter in built.module.parameters()]
    assert [b.shape for b in buffers] == [p.shape for p in built.module.parameters()]
