"""Named and pathed loading: which layout is chosen, and the one line that says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import chanc.data
from chanc.errors import DataError


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar10", ["cifar-10-python.tar.gz", "cifar-10-batches-py", "cifar-10-batches-bin"]),
        ("cifar100", ["cifar-100-python.tar.gz", "cifar-100-python", "cifar-100-binary"]),
        ("fashion-mnist", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]),
    ],
)
def test_offline_says_which_file_to_put_where(name: str, files: list[str], tmp_path: Path) -> None:
    if name == "fashion-mnist" and Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("the system has it")
    root = tmp_path / "sets"
    with pytest.raises(DataError) as caught:
        chanc.data.load(name, root=root)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) in message
    assert all(file in message for file in files)
    assert not root.exists()


@pytest.mark.usefixtures("_offline")
def test_data_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANC_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="elsewhere"):
        chanc.data.load("cifar10")
    monkeypatch.delenv("CHANC_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"into data$"):
        chanc.data.load("cifar10")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"mnist-42 does not exist.*cifar10, cifar100, digits, fashion-mnist"):
        chanc.data.load("mnist-42")


def test_folder_without_a_layout(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(DataError, match="no known layout"):
        chanc.data.load(tmp_path)
    with pytest.raises(DataError, match=r"is no \.npz file and no folder"):
        chanc.data.load(tmp_path / "readme.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_folder(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match="closed"):
        chanc.data.load(tmp_path / "closed")


def test_loading_needs_no_torch() -> None:
    code = "import sys, chanc.data; chanc.data.load('synthetic'); print('torch' in sys.modules, 'onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.shared
def test_shared_parquet_copy_of_cifar10() -> None:
    shared = Path(os.environ.get("CHANC_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = shared / "data" / "cifar10"
    if not folder.is_dir():
        pytest.skip("no shared data")
    dataset = chanc.data.load(folder, limit_train=500, limit_test=100, seed=4)
    assert (dataset.name, dataset.shape, dataset.classes) == ("cifar10", (3, 32, 32), 10)
    assert np.bincount(dataset.train_labels).tolist() == [50] * 10
    assert np.bincount(dataset.test_labels).tolist() == [10] * 10
    # Of the whole training set, published: .4914 .4822 .4465 and .247 .243 .262.
    np.testing.assert_allclose(dataset.mean, (0.4914, 0.4822, 0.4465), atol=0.03)
    np.testing.assert_allclose(dataset.std, (0.247, 0.243, 0.262), atol=0.03)
    assert dataset.note == "JPEG images; 500 of 50000 training images; 100 of 10000 test images"
