"""A network learns what its teacher says: any inputs and outputs, from samples without labels."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from chanc.errors import ChancError, DataError, ModelError

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.data.dataset import make  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.tasks import Distillation  # noqa: E402
from chanc.testing.builders import build  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.evidence import gather  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.task import Batch  # noqa: E402
from chanc.training.train import score, train  # noqa: E402

TASK = Distillation()
OPTIONS = TrainOptions(epochs=10, batch_size=16, optimizer="adamw", lr=0.01, weight_decay=0, device="cpu")
RECIPE = {"optimizer": "adamw", "lr": 0.01, "batch_size": 16, "device": "cpu"}
BIG, SMALL = 1e3, 1e-2


pytestmark = pytest.mark.usefixtures("one_thread")


def two() -> ir.Model:
    """Words and sound of any length to a large map, a small vector, and the number of its larger entry."""
    graph = Graph(seed=0)
    words = graph.input("words", [2, 6], dynamic={0: "n"}).gemm(8).relu()
    sound = graph.input("sound", [2, 3, 12], dynamic={0: "n", 2: "t"}).conv(8).relu()
    large = (sound + words.unsqueeze(2)).relu().conv(4) * graph.constant(np.float32(BIG))
    small = (words + sound.mean(2, keep=False)).gemm(2) * graph.constant(np.float32(SMALL))
    model = graph.ir(large, small, small.op("ArgMax", axis=1))
    for value, name in zip(model.graph.outputs, ("large", "small", "which"), strict=True):
        value.name = name
    return model


def classifier(*, end: str = "Softmax", seed: int = 0) -> ir.Model:
    graph = Graph(seed=seed)
    logits = graph.input("x", [2, 5], dynamic={0: "n"}).gemm(8).relu().gemm(3)
    return graph.ir(logits.op(end) if end else logits)


def vectors(count: int = 160, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 5)).astype(np.float32)


def pairs(count: int = 160) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [{"words": random.standard_normal((20, 6)), "sound": random.standard_normal((20, 3, 12))}
            for _ in range(count // 20)]  # fmt: skip


def perturbed(model: ir.Model, by: float) -> ir.Model:
    """A copy whose matrices and kernels are off by that share of their size."""
    twin, random = copy_model(model), np.random.default_rng(1)
    for value in twin.graph.initializers.values():
        array = value.const_value.numpy()
        if array.ndim > 1:
            noise = random.standard_normal(array.shape).astype(np.float32)
            value.const_value = ir.Tensor(array + by * array.std() * noise, name=value.name)
    return twin


def fitted(model: ir.Model, source, task: Distillation = TASK):
    return task.fit(model, datasets.data_for(source, [value.name for value in model.graph.inputs]))


def errors(student: ir.Model, teacher: ir.Model, feeds: dict[str, np.ndarray]) -> list[float]:
    """Of each float output: the mean square of the error, in units of the teacher's variance."""
    mine, said = ort.run(student, feeds), ort.run(teacher, feeds)
    return [float(((a - b) ** 2).mean() / b.var()) for a, b in zip(mine, said, strict=True) if b.dtype == np.float32]


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    for model, source in ((two(), pairs()), (classifier(), [vectors()])):
        data, student = fitted(model, source), copy_model(model)
        done = train(student, data, TASK, dataclasses.replace(OPTIONS, epochs=2), teacher=model).result
        assert [record.loss for record in done.history] == [0, 0]
        assert (done.loss, done.score) == (0, 1)
        for name, value in student.graph.initializers.items():
            assert np.array_equal(value.const_value.numpy(), model.graph.initializers[name].const_value.numpy())


def test_outputs_of_other_sizes_are_both_learned_in_a_hundred_steps() -> None:
    teacher, student = two(), perturbed(two(), 0.5)
    data = fitted(teacher, pairs())
    random = np.random.default_rng(7)
    feeds = {"words": random.standard_normal((50, 6)).astype(np.float32),
             "sound": random.standard_normal((50, 3, 30)).astype(np.float32)}  # fmt: skip
    before = errors(student, teacher, feeds)
    done = train(student, data, TASK, dataclasses.replace(OPTIONS, epochs=13), teacher=teacher).result
    after = errors(student, teacher, feeds)
    assert done.steps == 104
    assert min(before) > 0.1
    assert all(new < old / 5 for old, new in zip(before, after, strict=True)), (before, after)
    assert done.score > 0.95


def test_losses_are_in_units_of_the_teachers_spread() -> None:
    said = {"large": BIG * torch.tensor([[1.0, -1.0], [3.0, 1.0]]), "small": SMALL * torch.tensor([1.0, 2.0])}
    task = TASK.begin({}, [Batch({"x": torch.zeros(2, 1)}, None, True, said)])
    mine = {"large": said["large"] + BIG, "small": said["small"] * 3}
    batch = Batch({"x": torch.zeros(2, 1)}, None, True, said)
    apart = [1 / 2, 10 / 0.25]  # mean squares 1 and 10, variances 2 and 1/4
    assert float(task.loss(mine, batch)) == pytest.approx(np.mean(apart), rel=1e-6)
    total, count = task.score(mine, batch)
    assert float(total) / count == pytest.approx(1 - np.mean(apart), rel=1e-6)


def test_constant_outputs_have_a_spread_too() -> None:
    said = {"ones": torch.full((2, 3), 4.0), "zeros": torch.zeros(2)}
    task = TASK.begin({}, [Batch({"x": torch.zeros(2, 1)}, None, True, said)])
    assert task.heads.spreads == {"ones": 16.0, "zeros": 1.0}


def test_divergence_of_two_classes_in_closed_form() -> None:
    """Logits (a, 0) and (b, 0): the halved sum of both ways is (s(a) - s(b)) (a - b) / 2, s the logistic function."""
    a, b = 1.5, -0.5
    said, mine = torch.tensor([[b, 0.0]] * 2), torch.tensor([[a + 7, 7.0]] * 2)
    for task, heads in ((TASK, {"y": 1}), (Distillation(logits=True), {})):
        batch = Batch({"x": torch.zeros(2, 1)}, None, True, {"y": said})
        begun = task.begin(heads, [batch])
        expected = (1 / (1 + math.exp(-a)) - 1 / (1 + math.exp(-b))) * (a - b) / 2
        assert float(begun.loss({"y": mine}, batch)) == pytest.approx(expected, rel=1e-5)
        assert [float(value) for value in begun.score({"y": mine}, batch)] == [0, 2]


def test_a_softmax_is_left_out_and_its_axis_known() -> None:
    graph = Graph()
    maps = graph.input("x", [2, 3, 4, 4], dynamic={0: "n"}).conv(5)
    model = graph.ir(maps.op("Softmax", axis=1), maps.gap().flatten().op("LogSoftmax"), maps.op("Softmax", axis=0))
    net = trainable(model, TASK)
    assert list(net.heads.items()) == [(net.outputs[0], 1), (net.outputs[1], 1)]
    images = torch.randn(6, 3, 4, 4)
    said = net.forward({"x": images})
    begun = TASK.begin(net.heads, [Batch({"x": images}, None, False, said)])
    assert set(begun.heads.axes) == set(net.outputs[:2])
    assert set(begun.heads.spreads) == {net.outputs[2]}


def test_a_classifier_is_judged_by_its_top_class() -> None:
    teacher, student = classifier(), perturbed(classifier(), 0.5)
    data = fitted(teacher, [vectors()])
    answers = [ort.run(model, {"x": data.test["x"]})[0].argmax(1) for model in (teacher, student)]
    agreement = float(np.mean(answers[0] == answers[1]))
    assert 0.3 < agreement < 1
    assert score(trainable(student, TASK), data, TASK, OPTIONS, teacher) == pytest.approx(agreement)


def test_units_are_worth_what_their_removal_costs() -> None:
    """The mean of s^2 over random errors of the teacher is the distillation loss without the unit, to second order."""
    for model, task in ((classifier(end=""), TASK), (classifier(), TASK)):
        data = fitted(model, [vectors(2000)])
        found = gather(model, data, task, device="cpu", batches=100, batch_size=16)
        (group,) = (group for group in chanc.analyze(model).groups if group.resizable)
        worth = found.taken[group.id].squared / found.batches
        small = copy_model(model)
        weight = next(value for value in small.graph.initializers.values() if value.shape == (3, 8))
        kept, costs = weight.const_value.numpy(), []
        for unit in range(8):
            less = kept.copy()
            less[:, unit] *= 0.9  # a tenth of it, where the second order is all there is
            weight.const_value = ir.Tensor(less, name=weight.name)
            begun = task.begin(*_looked(model, data, task))
            net = trainable(small, task)
            batch = _looked(model, data, task)[1][0]
            costs.append(100 * float(begun.loss(net.forward(batch.inputs), batch).detach()))
        assert np.isfinite(worth).all()
        assert worth == pytest.approx(np.array(costs), rel=0.4)
        assert np.corrcoef(worth, costs)[0, 1] > 0.97


def _looked(model: ir.Model, data, task: Distillation):
    net = trainable(model, task)
    inputs = {name: torch.tensor(value) for name, value in data.train.items()}
    with torch.no_grad():
        return net.heads, [Batch(inputs, None, True, net.forward(inputs))]


def test_evidence_through_the_front_door() -> None:
    teacher = two()
    found = chanc.gather(teacher, pairs(), task="distillation", device="cpu", batches=2)
    assert found.batches == 2
    assert found.taken
    for moments in found.taken.values():
        assert np.isfinite(moments.squared).all()
        assert (moments.squared > 0).all()
    student = perturbed(teacher, 0.5)
    other = chanc.gather(student, pairs(), task="distillation", teacher=teacher, device="cpu", batches=2)
    assert all(np.isfinite(moments.absolute).all() for moments in other.made.values())


def test_names_of_another_export_are_taken_in_order() -> None:
    teacher, student = classifier(), perturbed(classifier(), 0.3)
    student.graph.inputs[0].name, student.graph.outputs[0].name = "pixels", "probabilities"
    data = fitted(student, [vectors()])
    begun = score(trainable(student, TASK), data, TASK, OPTIONS, teacher)
    assert 0.3 < begun < 1


def test_a_detector_learns_in_front_of_its_tail() -> None:
    """Boxes in pixels and scores in 0..1, of which an operator that PyTorch doesn't have makes detections."""
    nodes = """c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) b = Conv (r, v) boxes = Mul (b, hundred)
    s = Conv (r, u) scores = Sigmoid (s) y = theirs.Detections (boxes, scores)"""
    weights = {"w": (6, 2, 3, 3), "v": (4, 6, 1, 1), "u": (3, 6, 1, 1), "hundred": np.float32(BIG)}
    proto = build("float[N,2,H,W] x", "float[N,7] y", nodes, weights, domains=("theirs",))
    teacher = ir.from_proto(proto)
    student = perturbed(teacher, 0.3)
    images = np.random.default_rng(0).standard_normal((64, 2, 6, 6))
    done = chanc.train(student, [images], task=TASK, teacher=teacher, **RECIPE, epochs=10)
    assert done.before < 0.95
    assert done.top1 > 1 - (1 - done.before) / 4
    assert [node.op_type for node in done.model.graph] == [node.op_type for node in teacher.graph]
    moments = chanc.gather(student, [images], task="distillation", device="cpu", batches=1).taken.values()
    assert all((of.squared > 0).all() for of in moments)


def test_a_stopped_training_goes_on(tmp_path) -> None:
    teacher, ends = classifier(), []
    data = fitted(teacher, [vectors()])
    for stops in ((4,), (2, 4)):
        student, file = perturbed(teacher, 0.3), tmp_path / f"{len(stops)}.safetensors"
        for epochs in stops:
            options = dataclasses.replace(OPTIONS, epochs=4)
            with contextlib.suppress(KeyboardInterrupt):
                train(student, data, TASK, options, teacher=teacher, checkpoint=file, on_epoch=_stop_after(epochs))
        ends.append([value.const_value.numpy() for value in student.graph.initializers.values()])
    assert all(np.array_equal(one, two) for one, two in zip(*ends, strict=True))


def _stop_after(epochs: int):
    def stop(record, module) -> None:
        if record.epoch == epochs and epochs < 4:
            raise KeyboardInterrupt

    return stop


def test_made_up_inputs_have_to_be_asked_for() -> None:
    teacher = two()
    done = chanc.train(perturbed(teacher, 0.3), "random", task="distillation", teacher=teacher, epochs=2, device="cpu",
                       limit_train=64, limit_test=16, dims={"t": 9}, optimizer="adamw", batch_size=16)  # fmt: skip
    assert (done.data, done.test_images) == ("random", 16)
    assert done.top1 > done.before


def log_of(*, seed: int = 0) -> ir.Model:
    graph = Graph(seed=seed)
    x = graph.input("x", [2, 5], dynamic={0: "n"})
    return graph.ir(x.gemm(3), (x.op("Log") + x.gemm(5)))


@pytest.mark.parametrize("part", ["train", "test"])
def test_what_is_no_number_is_named(part: str) -> None:
    teacher = log_of()
    sound, bad = np.abs(vectors(40)) + 1, np.abs(vectors(320)) + 1
    bad[-1, 2] = -1
    arrays = {"train": sound, "test": sound, part: bad}
    data = TASK.fit(teacher, datasets.Samples("x", {"x": arrays["train"]}, {"x": arrays["test"]}))
    with pytest.raises(ModelError, match=f"the teacher's output '{teacher.graph.outputs[1].name}' holds NaN or Inf"):
        train(copy_model(teacher), data, TASK, OPTIONS, teacher=teacher)


def test_a_late_nan_is_the_teachers_too() -> None:
    """Where the first look has not seen it."""
    teacher, feed = classifier(), np.abs(vectors(600))
    graph = Graph()
    x = graph.input("x", [2, 5], dynamic={0: "n"})
    teacher = graph.ir(x.gemm(3) + x.op("Log").slice(1, 0, 3))
    chosen = np.random.default_rng(0).permutation(600)
    feed[chosen[500], 0] = -1
    data = TASK.fit(teacher, datasets.Samples("x", {"x": feed}, {"x": feed[chosen[:50]]}))
    with pytest.raises(ModelError, match="holds NaN or Inf"):
        train(copy_model(teacher), data, TASK, OPTIONS, teacher=teacher)


def test_what_doesnt_fit_is_one_line() -> None:
    graph = Graph()
    whole = graph.ir(graph.input("x", [2, 5], dynamic={0: "n"}).gemm(3).op("ArgMax", axis=1))
    with pytest.raises(ModelError, match="no output of floats"):
        fitted(whole, [vectors()])
    data, graph = fitted(classifier(), [vectors()]), Graph()
    wide = graph.ir(graph.input("x", [2, 5], dynamic={0: "n"}).gemm(4).op("Softmax"))
    cases = {
        r"is \[16, 3\], which the student makes \[16, 4\] of": (wide, classifier()),
        "the student has 1 inputs .x., the teacher 2": (classifier(), two()),
        "distillation needs a teacher": (classifier(), None),
    }
    for message, (student, teacher) in cases.items():
        with pytest.raises(ChancError, match=message) as caught:
            train(student, data, TASK, OPTIONS, teacher=teacher)
        assert "\n" not in str(caught.value)
    graph = Graph()
    x = graph.input("x", [2, 7], dynamic={0: "n"})
    with pytest.raises(ModelError, match="the teacher can't be run on what the student takes"):
        train(classifier(), data, TASK, OPTIONS, teacher=graph.ir(x.gemm(3)))


def test_pixels_that_nothing_tells_of_are_asked_for() -> None:
    graph = Graph()
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"})
    teacher = graph.ir(x.conv(4).relu().conv(1))
    pixels = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8)).astype(np.uint8)
    grey = make("grey", (pixels[:40], np.arange(40) % 4), (pixels[40:], np.arange(10) % 4))
    options = {"task": "distillation", "teacher": teacher, "epochs": 1, "device": "cpu"}
    with pytest.raises(ModelError, match="can't be told without labels: give --normalise none"):
        chanc.train(teacher, grey, **options)
    done = chanc.train(teacher, grey, normalise="none", **options)
    assert done.before == 1
    other = copy_model(teacher)
    other.metadata_props["chanc.input.scale"] = "1.0"
    teacher.metadata_props["chanc.input.scale"] = repr(1 / 255)
    with pytest.raises(ModelError, match=r"the model was made for pixels, .*, its teacher for pixels / 255"):
        chanc.train(other, grey, **options)
    with pytest.raises(ChancError, match="classification learns nothing from a teacher"):
        chanc.train(teacher, grey, **{**options, "task": "classification"})


def test_labels_tell_which_pixels_the_teacher_was_made_for() -> None:
    """Light above nine tenths of white is another class than light below: so with pixels in 0..1, and no others."""
    graph, random = Graph(), np.random.default_rng(0)
    light = graph.input("image", [2, 1, 4, 4], dynamic={0: "n"}).gap().flatten()
    weights = [graph.constant(np.array(values, np.float32)) for values in ([[100], [-100]], [-90, 90])]
    teacher = graph.ir(light.op("Gemm", *weights, transB=1).op("Softmax"))
    labels = np.arange(200) % 2
    shades = 255 * np.where(labels, random.uniform(0.6, 0.88, 200), random.uniform(0.92, 1, 200))
    images = np.broadcast_to(shades[:, None, None, None], (200, 1, 4, 4)).astype(np.uint8)
    data, said = make("shades", (images[:150], labels[:150]), (images[150:], labels[150:])), []
    done = chanc.train(perturbed(teacher, 0.0), data, task=TASK, teacher=teacher, epochs=1, say=said.append, **RECIPE)
    assert any("pixels / 255, channels first (NCHW): pixels in 0..1, found by the model's top-1" in one for one in said)
    assert done.before == 1
    assert done.model.metadata_props["chanc.input.scale"] == repr(1 / 255)


def test_half_precision_is_taught_as_well() -> None:
    graph = Graph()
    half = onnx.TensorProto.FLOAT16
    x = graph.input("x", [2, 5], dynamic={0: "n"}, dtype=half)
    weight = graph.constant(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16))
    model = graph.ir(x.op("MatMul", weight))
    data = fitted(model, [vectors()])
    assert data.train["x"].dtype == np.float32
    done = train(perturbed(model, 0.0), data, TASK, OPTIONS, teacher=model)
    assert done.result.score == pytest.approx(1, abs=1e-5)


def test_arrays_that_dont_fit_are_named() -> None:
    for batch, message in (
        ({"x": vectors(), "y": vectors()}, "arrays for 'x', 'y'; the model's inputs are 'x'"),
        ({"y": vectors()}, "arrays for 'y'; the model's inputs are 'x'"),
        (vectors()[:, :4], "a sample of 'x' is 4, the model takes 5"),
        (vectors()[:, None], "a sample of 'x' is 1x5, the model takes 5"),
        (np.ones((9, 5), np.uint8), "has uint8 for 'x', the model takes float32: pixels are fed as they are"),
        (np.full((9, 5), np.nan), "'x' holds NaN or Inf"),
    ):
        with pytest.raises(DataError, match=message):
            fitted(classifier(), [batch])
