from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chanc.errors import RunError

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402

from chanc.tasks import Classification  # noqa: E402
from chanc.testing.modules import by_hand  # noqa: E402
from chanc.testing.sockets import exposed, listening  # noqa: E402
from chanc.training import distributed  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.trainer import train_module  # noqa: E402

_TRAINED = """
import os
import sys
sys.path.insert(0, {tests!r})
from conftest import Net
import numpy as np, torch
from safetensors.torch import save_file
from chanc.data.dataset import make
from chanc.tasks import Classification
from chanc.testing.modules import by_hand
from chanc.training.distributed import joined, processes, together
from chanc.training.options import TrainOptions
from chanc.training.trainer import train_module
torch.set_num_threads(1)
data = np.load({data!r})
dataset = make("colours", (data["a"], data["b"]), (data["c"], data["d"]))
assert processes() == 2
with joined("cpu") as rank:
    for k, (smoothing, options) in enumerate({options!r}):
        options = TrainOptions(**options)
        torch.manual_seed(0)
        module = Net(aux=True)
        module.body[6].p = 0.0
        more = dict(checkpoint={out!r} + "/checkpoint") if k == 0 else {{}}
        net = together(by_hand(module, outputs=module.outputs), options)
        result = train_module(net, dataset, Classification(smoothing), options, **more)
        found = {{"loss": repr(result.loss), "top1": repr(result.score)}}
        save_file({{n: v.contiguous() for n, v in module.state_dict().items()}}, f"{out}/{{k}}-{{rank}}", found)
os._exit(0)  # gloo's threads can abort the interpreter on its way out
"""
_COMMON = {"epochs": 2, "batch_size": 33, "lr": 0.02, "crop_padding": 1, "seed": 5, "device": "cpu"}
# Label smoothing and options.
_OPTIONS = (
    (0.0, {**_COMMON, "clip_norm": 1.0, "ema_decay": 0.9, "schedule": "cosine"}),
    (0.1, {**_COMMON, "optimizer": "adas"}),
)


@pytest.fixture
def alone(tmp_path):
    """A process group of this one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _net(net):
    module = net(aux=True)
    module.body[6].p = 0.0  # masks are drawn for each process's part: they can't be those of one process
    return module


def _trained(module, dataset, smoothing, options, **more):
    net = by_hand(module, outputs=module.outputs)
    return train_module(net, dataset, Classification(smoothing), TrainOptions(**options), **more)


@pytest.mark.nightly
def test_two_processes_equal_one(net, dataset, tmp_path) -> None:
    from safetensors import safe_open

    data = tmp_path / "data.npz"
    np.savez(data, a=dataset.train_images, b=dataset.train_labels, c=dataset.test_images, d=dataset.test_labels)
    script = tmp_path / "script.py"
    script.write_text(_TRAINED.format(tests=str(Path(__file__).parent), data=str(data), out=str(tmp_path),
                                      options=_OPTIONS))  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr[:3000]
    for k, (smoothing, options) in enumerate(_OPTIONS):
        module = _net(net)
        expected = _trained(module, dataset, smoothing, options)
        for rank in (0, 1):
            with safe_open(tmp_path / f"{k}-{rank}", "pt") as file:
                assert set(file.keys()) == set(module.state_dict())
                for name, value in module.state_dict().items():
                    torch.testing.assert_close(file.get_tensor(name), value, rtol=0, atol=1e-5)
                assert float(file.metadata()["loss"]) == pytest.approx(expected.loss, abs=1e-5)
                assert float(file.metadata()["top1"]) == expected.score
    # A checkpoint of two processes is one of a single process, too.
    again = _trained(_net(net), dataset, *_OPTIONS[0], checkpoint=tmp_path / "checkpoint")
    assert again.resumed_from == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("here", "interface"), [("1", "lo"), ("2", None)])
def test_processes_of_one_machine_listen_on_its_loopback(
    here: str, interface: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("WORLD_SIZE", here)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    start, before = dist.init_process_group, listening()
    group = {"init_method": f"file://{tmp_path}/group", "rank": 0, "world_size": 1}
    monkeypatch.setattr(dist, "init_process_group", lambda backend: start(backend, **group))
    with distributed.joined("cpu"):
        assert [os.environ.get(name) for name in names] == [interface] * 2
        assert listening() > before
        assert interface is None or exposed() == []


@pytest.mark.usefixtures("alone")
def test_shared_norms_are_batch_norms(net) -> None:
    plain, shared = _net(net).double(), _net(net).double()
    names = list(shared.state_dict())
    distributed.with_shared_norms(shared, torch.device("cpu"))
    assert list(shared.state_dict()) == names
    assert not any(type(child) is torch.nn.BatchNorm2d for child in shared.modules())
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    for mode in (True, True, False):
        ours, theirs = shared.train(mode)(images), plain.train(mode)(images)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        if mode:
            (ours[0] ** 2).sum().backward()
            (theirs[0] ** 2).sum().backward()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=0, atol=1e-12)
    for one, other in zip(shared.parameters(), plain.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("alone")
def test_a_shared_network_is_the_modules_own(net) -> None:
    module = _net(net)
    names, parameters = list(module.state_dict()), [name for name, _ in module.named_parameters()]
    plain = by_hand(module, outputs=module.outputs)
    shared = distributed.together(plain, TrainOptions(device="cpu"))
    assert list(shared.module.state_dict()) == names
    assert [name for name, _ in shared.module.named_parameters()] == parameters
    shared.module.eval()
    images = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        ours, theirs = shared.forward({"image": images}), plain.forward({"image": images})
    assert list(ours) == list(theirs) == ["main", "aux"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_processes_and_devices(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert distributed.processes() == 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(RunError, match="more processes than the 1 GPUs"), distributed.joined("cuda"):
        pass
