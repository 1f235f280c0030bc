from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chanc.errors import DataError, ModelError, RunError, TrialError

torch = pytest.importorskip("torch")

from chanc.data.augment import Augment  # noqa: E402
from chanc.data.batches import Batches  # noqa: E402
from chanc.metrics.quality import layers_quality  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.modules import by_hand  # noqa: E402
from chanc.training.adas import AdaS  # noqa: E402
from chanc.training.devices import isolated, precision  # noqa: E402
from chanc.training.evaluation import evaluate  # noqa: E402
from chanc.training.feed import held_out_feed, resident, training_feed  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.trainer import compiled, train_module  # noqa: E402

_BASE = TrainOptions(epochs=3, batch_size=32, lr=0.05, crop_padding=1, seed=5, device="cpu")
_VARIANTS = {
    "sgd": replace(_BASE, schedule="cosine"),
    "adamw": replace(_BASE, optimizer="adamw", lr=0.01, schedule="onecycle", cutout=2),
    "adas": replace(_BASE, optimizer="adas", adas_beta=0.9, clip_norm=1.0),
    "sgdr": replace(_BASE, schedule="sgdr", restart_epochs=1, ema_decay=0.9),
    "step": replace(_BASE, schedule="step", step_epochs=1, deterministic=True),
}


class _Stop(Exception):
    pass


def train(module, dataset, options, task=None, **more):
    return train_module(by_hand(module, outputs=module.outputs), dataset, task or Classification(), options, **more)


def measure(module, dataset):
    net = by_hand(module, outputs=module.outputs)
    return evaluate(net, Classification(), held_out_feed(dataset, "image", torch.device("cpu")))


def _same(first, second) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("options", _VARIANTS.values(), ids=_VARIANTS)
@pytest.mark.parametrize("where", ["between epochs", "within an epoch"])
def test_interrupted_and_resumed_equals_undisturbed(options, where, net, dataset, tmp_path) -> None:
    whole, parted = net(aux=True), net(aux=True)
    task = Classification(label_smoothing=0.1)
    expected = train(whole, dataset, options, task, checkpoint=tmp_path / "whole.safetensors")

    def on_step(info) -> None:
        if where == "within an epoch" and (info.epoch, info.step) == (1, 3):
            raise _Stop

    def on_epoch(record, _) -> None:
        if where == "between epochs" and record.epoch == 1:
            raise _Stop

    path = tmp_path / "parted.safetensors"
    with pytest.raises(_Stop):
        train(parted, dataset, options, task, on_step=on_step, on_epoch=on_epoch, checkpoint=path)
    resumed = net(aux=True)
    torch.manual_seed(99)
    result = train(resumed, dataset, options, task, checkpoint=path)
    assert result.resumed_from == 1
    assert result.history == expected.history
    assert _same(resumed, whole)
    assert path.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.parametrize(("device", "mode"), [("cpu", "default"), ("cuda", "reduce-overhead")])
def test_compiled_networks_have_cuda_graphs_on_a_gpu(device, mode, net, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(torch, "compile", lambda module, mode: seen.append(mode) or module.forward)
    plain = by_hand(net())
    found = compiled(plain, torch.device(device))
    assert seen == [mode]
    assert found.module is plain.module
    assert found.run == plain.module.forward


def test_finished_checkpoint_trains_no_more(net, dataset, tmp_path) -> None:
    first = net()
    expected = train(first, dataset, _VARIANTS["sgdr"], checkpoint=tmp_path / "c.safetensors")
    again = net()
    steps = []
    result = train(again, dataset, _VARIANTS["sgdr"], on_step=steps.append, checkpoint=tmp_path / "c.safetensors")
    assert steps == []
    assert (result.history, result.score, result.steps) == (expected.history, expected.score, 21)
    assert _same(again, first)


_KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from conftest import Net
import numpy as np, torch
from chanc.data.dataset import make
from chanc.tasks import Classification
from chanc.testing.modules import by_hand
from chanc.training.options import TrainOptions
from chanc.training.trainer import train_module
torch.set_num_threads(1)
torch.manual_seed(0)
module = Net()
data = np.load({data!r})
dataset = make("colours", (data["a"], data["b"]), (data["c"], data["d"]))
def on_step(info):
    if (info.epoch, info.step) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)
options = TrainOptions(epochs=3, batch_size=32, lr=0.05, crop_padding=1, seed=5, device="cpu")
train_module(by_hand(module), dataset, Classification(), options, on_step=on_step, checkpoint={path!r})
"""


@pytest.mark.nightly
def test_killed_process_is_resumed(net, dataset, tmp_path) -> None:
    whole = net()
    expected = train(whole, dataset, _BASE)
    data, path = tmp_path / "data.npz", tmp_path / "c.safetensors"
    np.savez(data, a=dataset.train_images, b=dataset.train_labels, c=dataset.test_images, d=dataset.test_labels)
    code = _KILLED.format(tests=str(Path(__file__).parent), data=str(data), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=100)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = net()
    result = train(resumed, dataset, _BASE, checkpoint=path)
    assert result.resumed_from == 2
    assert result.history == expected.history
    assert _same(resumed, whole)


def test_agrees_with_a_plain_loop(net, dataset) -> None:
    options = replace(_BASE, schedule="cosine", momentum=0.8, weight_decay=1e-3, flip=False)
    ours, theirs = net(), net()
    result = train(ours, dataset, options, Classification(label_smoothing=0.05))
    theirs.to(memory_format=torch.channels_last).train()
    images, labels = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
    generator = torch.Generator().manual_seed(5)
    batches = Batches(images, labels, 32, dataset.input, Augment(1, False, 0), generator)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.8, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3 * len(batches))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for _ in range(3):
            for x, y in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(theirs(x), y, label_smoothing=0.05).backward()
                optimizer.step()
                schedule.step()
    assert _same(ours, theirs)
    theirs.eval()
    test = torch.tensor(dataset.test_images).float() / 255
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (dataset.mean, dataset.std))
    with torch.no_grad():
        logits = theirs((test - mean) / std)
    truth = torch.tensor(dataset.test_labels)
    assert result.score == float((logits.argmax(1) == truth).double().mean())
    assert result.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, truth)), rel=1e-5)


def test_learns_and_reports_it(net, dataset) -> None:
    module = net()
    options = replace(_BASE, epochs=8, optimizer="adamw", lr=0.02)
    result = train(module, dataset, options)
    assert [record.epoch for record in result.history] == list(range(8))
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    assert result.score > 0.9
    assert (result.score, result.loss) == (result.history[-1].score, result.history[-1].test_loss)
    assert result.steps == 8 * 7
    assert not module.training
    measured = measure(module, dataset)
    assert (measured.score, measured.loss) == (result.score, result.loss)


def test_seed_decides_and_the_caller_is_left_alone(net, dataset) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(net(), dataset, _BASE)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(2)
    random.seed(3)
    assert train(net(), dataset, _BASE).history == first.history
    assert train(net(), dataset, replace(_BASE, seed=6)).history != first.history


def test_hooks_see_every_step_and_keep_metrics(net, dataset, tmp_path) -> None:
    steps = []

    def on_epoch(record, module):
        assert not module.training
        return {"norm": float(module.classifier.weight.detach().norm()), "seen": len(steps)}

    path = tmp_path / "c.safetensors"
    result = train(net(), dataset, _BASE, on_step=steps.append, on_epoch=on_epoch, checkpoint=path)
    assert [(info.epoch, info.step) for info in steps] == [(epoch, step) for epoch in range(3) for step in range(7)]
    assert {info.steps for info in steps} == {7}
    sizes = torch.tensor([32.0] * 6 + [8.0]).double()
    losses = torch.stack([info.loss.double() for info in steps[:7]])
    assert result.history[0].loss == pytest.approx(float((sizes * losses).sum() / 200), rel=1e-6)
    assert [record.metrics["seen"] for record in result.history] == [7, 14, 21]
    again = train(net(), dataset, _BASE, on_epoch=on_epoch, checkpoint=path)
    assert again.history == result.history


@pytest.mark.parametrize("minimum", ["global", "brent"])
def test_what_adas_measured_is_shown_but_not_kept(net, dataset, minimum) -> None:
    shown = []

    def on_epoch(record, module) -> None:
        assert list(record.qualities) == AdaS(module).layers
        weights = {name: module.state_dict()[name] for name in record.qualities}
        for name, measured in layers_quality(weights, minimum).items():
            assert record.qualities[name].as_dict() == pytest.approx(measured.as_dict(), rel=1e-9)
        shown.append(record.epoch)

    options = replace(_BASE, optimizer="adas", evbmf=minimum)
    result = train(net(), dataset, options, on_epoch=on_epoch)
    assert shown == [0, 1, 2]
    assert not any(record.qualities for record in result.history)
    with pytest.raises(RunError, match="evbmf 'lowest' is unknown: one of global, brent"):
        replace(_BASE, evbmf="lowest")


def test_auxiliary_head_weighs_four_tenths(net, dataset) -> None:
    options = replace(_BASE, epochs=1, lr=1e-12, weight_decay=0.0, flip=False, crop_padding=0, batch_size=200)
    losses = []
    module = net(aux=True)
    module.body[6].p = 0.0
    train(module, dataset, options, on_step=lambda info: losses.append(float(info.loss)))
    module.train()
    images = torch.tensor(dataset.train_images).float() / 255
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (dataset.mean, dataset.std))
    with torch.no_grad():
        main, aux = module((images - mean) / std)
    labels = torch.tensor(dataset.train_labels)
    expected = [float(torch.nn.functional.cross_entropy(output, labels)) for output in (main, aux)]
    assert losses == pytest.approx([expected[0] + 0.4 * expected[1]], rel=1e-5)


def test_clipping_bounds_the_step(net, dataset) -> None:
    options = replace(_BASE, epochs=1, lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=1e-3, batch_size=200)
    module, start = net(), net()
    train(module, dataset, options)
    moved = [now.detach() - then.detach() for now, then in zip(module.parameters(), start.parameters(), strict=True)]
    assert float(torch.cat([d.flatten() for d in moved]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_averaged_weights_are_evaluated_and_kept(net, dataset) -> None:
    options = replace(_BASE, epochs=2, ema_decay=0.8)
    module = net()
    shadow = {name: value.clone() for name, value in module.state_dict().items() if value.is_floating_point()}
    updates = 0

    def on_step(_) -> None:
        nonlocal updates
        decay = min(0.8, (1 + updates) / (10 + updates))
        for name, value in module.state_dict().items():
            if name in shadow:
                shadow[name] = decay * shadow[name] + (1 - decay) * value
        updates += 1

    result = train(module, dataset, options, on_step=on_step)
    for name, value in shadow.items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert measure(module, dataset).loss == result.loss
    plain = train(net(), dataset, replace(options, ema_decay=None))
    assert [record.loss for record in plain.history] == [record.loss for record in result.history]
    assert plain.loss != result.loss


def test_adas_rates_move_and_carry_over(net, dataset) -> None:
    options = _VARIANTS["adas"]
    first = train(net(), dataset, options)
    assert first.history[0].lr == first.history[1].lr == pytest.approx(0.05)
    assert first.history[2].lr != pytest.approx(0.05)
    carried = train(net(), dataset, options, rates=first.optimizer_state["adas"])
    etas = first.optimizer_state["adas"]["eta"]
    assert carried.history[0].lr == pytest.approx(sum(etas.values()) / len(etas))
    with pytest.raises(RunError, match="only adas has"):
        train(net(), dataset, _BASE, rates=first.optimizer_state["adas"])
    with pytest.raises(ModelError, match="convolution"):
        train_module(by_hand(torch.nn.Linear(192, 4)), dataset, Classification(), options)


@pytest.mark.parametrize("name", ["sgd", "adas"])
def test_divergence_is_a_failed_trial(name, net, dataset) -> None:
    options = replace(_VARIANTS[name], lr=1e30, clip_norm=None)
    with pytest.raises(TrialError, match="diverged"):
        train(net(), dataset, options)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory.\nDetails"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_is_a_failed_trial(error, net, dataset) -> None:
    def on_step(_) -> None:
        raise error

    with pytest.raises(TrialError, match="out of memory") as caught:
        train(net(), dataset, _BASE, on_step=on_step)
    assert "\n" not in str(caught.value)


def test_other_runtime_errors_are_not_hidden(net, dataset) -> None:
    def on_step(_) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        train(net(), dataset, _BASE, on_step=on_step)


def test_other_number_of_classes(net, dataset) -> None:
    with pytest.raises(DataError, match="colours has 4 classes, the model's output is 7 an image"):
        train(net(classes=7), dataset, _BASE)


def test_checkpoint_of_another_run_is_refused(net, dataset, tmp_path) -> None:
    path = tmp_path / "c.safetensors"
    train(net(), dataset, replace(_BASE, epochs=1), checkpoint=path)
    before = path.read_bytes()
    for changes, message in (
        ({"epochs": 2}, "made with epochs 1, not 2"),
        ({"epochs": 1, "lr": 0.1}, "lr 0.05, not 0.1"),
    ):
        with pytest.raises(RunError, match=message):
            train(net(), dataset, replace(_BASE, **changes), checkpoint=path)
    with pytest.raises(RunError, match=r"task Classification\(label_smoothing=0.0\), not Classification\(label_sm"):
        train(net(), dataset, replace(_BASE, epochs=1), Classification(0.1), checkpoint=path)
    with pytest.raises(RunError, match="other data"):
        train(net(), dataset.limit(100), replace(_BASE, epochs=1), checkpoint=path)
    with pytest.raises(RunError, match="another model"):
        train(net(aux=True), dataset, replace(_BASE, epochs=1), checkpoint=path)
    assert path.read_bytes() == before


def test_checkpoint_that_cannot_be_written(net, dataset, tmp_path) -> None:
    with pytest.raises(RunError, match="can't be written"):
        train(net(), dataset, _BASE, checkpoint=tmp_path / "missing" / "c.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, "optimizer 'lion' is unknown: one of sgd, adamw, adas"),
        ({"schedule": "linear"}, "schedule 'linear' is unknown"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"epochs": 0}, "epochs 0 lies outside"),
        ({"batch_size": 1}, "batch_size 1 lies outside"),
        ({"lr": 0.0}, "lr 0.0 must be above 0"),
        ({"lr": float("nan")}, "lr nan lies outside"),
        ({"optimizer": "adas", "schedule": "step"}, "sets its own learning rates"),
    ],
)
def test_options_are_checked(changes, message) -> None:
    with pytest.raises(RunError, match=message):
        TrainOptions(**changes)


def test_precision_is_recorded(net, dataset, monkeypatch) -> None:
    assert train(net(), dataset, replace(_BASE, epochs=1)).precision == "float32"
    monkeypatch.setattr("chanc.training.devices.pick_device", lambda name: torch.device("cuda"))
    assert [precision(replace(_BASE, amp=amp)) for amp in (True, False)] == ["bfloat16", "float32"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_cuda_asked_for_where_there_is_none(net, dataset) -> None:
    with pytest.raises(RunError, match="torch sees none"):
        train(net(), dataset, replace(_BASE, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_and_resumes(net, dataset, tmp_path) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    options = replace(_BASE, epochs=4, device="cuda", deterministic=True)
    expected = train(net(), dataset, options)
    assert expected.precision == "bfloat16"

    def on_epoch(record, _) -> None:
        if record.epoch == 2:
            raise _Stop

    path = tmp_path / "c.safetensors"
    with pytest.raises(_Stop):
        train(net(), dataset, options, on_epoch=on_epoch, checkpoint=path)
    assert train(net(), dataset, options, checkpoint=path).history == expected.history


def test_the_epochs_between_two_evaluations_are_trained_alike_and_not_judged(net, dataset, tmp_path) -> None:
    every, some = net(), net()
    options = replace(_BASE, epochs=4)
    judged = train(every, dataset, options).history
    path = tmp_path / "state.safetensors"
    found = train(some, dataset, options, judge_every=3, checkpoint=path)
    assert _same(every, some)
    assert [math.isnan(epoch.score) for epoch in found.history] == [True, True, False, False]
    assert [math.isnan(epoch.test_loss) for epoch in found.history] == [True, True, False, False]
    assert [epoch.loss for epoch in found.history] == [epoch.loss for epoch in judged]
    assert found.history[2:] == judged[2:]
    assert (found.score, found.loss) == (judged[-1].score, judged[-1].test_loss)
    again = train(net(), dataset, options, judge_every=3, checkpoint=path)
    assert repr(again.history) == repr(found.history)


def test_trainings_on_one_data_set_share_what_lies_on_the_device(dataset) -> None:
    device = torch.device("cpu")
    generator = torch.Generator()
    feeds = [training_feed(dataset, _BASE, "image", device, generator) for _ in range(2)]
    feeds += [held_out_feed(dataset, "image", device) for _ in range(2)]
    one, two, three, four = (feed.batches.images.data_ptr() for feed in feeds)
    assert (one, three) == (two, four)
    assert one == resident(dataset, "train", device)[0].data_ptr() != three
    assert np.array_equal(resident(dataset, "train", device)[0].numpy(), dataset.train_images)
    other = replace(dataset)
    assert resident(other, "train", device)[0].data_ptr() != one
    kept = resident(dataset, "train", device)[0]
    assert kept.data_ptr() == resident(dataset, "train", device)[0].data_ptr()


def test_a_training_leaves_the_shared_images_as_they_are(net, dataset) -> None:
    train(net(), dataset, replace(_BASE, cutout=2))
    assert np.array_equal(resident(dataset, "train", torch.device("cpu"))[0].numpy(), dataset.train_images)


@pytest.mark.parametrize(("epochs", "searched"), [(2, False), (30, True)])
def test_cudnn_tries_its_algorithms_in_long_trainings_only(epochs, searched) -> None:
    before = torch.backends.cudnn.benchmark
    with isolated(torch.device("cpu"), replace(_BASE, epochs=epochs)):
        assert torch.backends.cudnn.benchmark is searched
    with isolated(torch.device("cpu"), replace(_BASE, epochs=30, deterministic=True)):
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark is before
