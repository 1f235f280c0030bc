"""Data without labels: what comes of paths, iterables and arrays, and the one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chanc.data import Dataset, Samples, data_for
from chanc.data.samples import divided
from chanc.errors import DataError

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(40, dtype=np.int64).reshape(20, 2)


def whole(data: Samples, name: str) -> np.ndarray:
    """Both parts of an array, in the order of its first numbers."""
    joined = np.concatenate([data.train[name], data.test[name]])
    return joined[joined.reshape(len(joined), -1)[:, 0].argsort(kind="stable")]


@pytest.mark.parametrize("form", ["dicts", "tuples", "labelled tuples", "dict and labels", "labelled dicts"])
def test_batches_of_every_form(form: str) -> None:
    labels = np.arange(20)
    make = {
        "dicts": lambda s: {"x": X[s], "y": Y[s]},
        "tuples": lambda s: (X[s], Y[s]),
        "labelled tuples": lambda s: [X[s], Y[s], labels[s]],
        "dict and labels": lambda s: ({"x": X[s], "y": Y[s]}, labels[s]),
        "labelled dicts": lambda s: {"y": Y[s], "labels": labels[s], "x": X[s]},
    }[form]
    data = data_for((make(slice(k, k + 6)) for k in range(0, 20, 6)), ["x", "y"])
    assert isinstance(data, Samples)
    assert data.counts == (16, 4)
    assert np.array_equal(whole(data, "x"), X)
    assert np.array_equal(whole(data, "y"), Y)
    assert data.labelled == ("label" in form)
    if data.labelled:
        assert np.array_equal(data.train_labels, data.train["x"][:, 0] / 3)
        assert np.array_equal(data.test_labels, data.test["x"][:, 0] / 3)


def test_bare_arrays_are_the_one_input() -> None:
    data = data_for([X[:7], X[7:]], ["x"])
    assert np.array_equal(whole(data, "x"), X)
    assert np.array_equal(data.test["x"], data_for([X], ["x"]).test["x"]), "the same fifth, however it is cut"
    assert data_for(data, ["x"], limit_train=5, seed=1).counts == (5, 4)


def test_an_endless_stream_is_read_as_far_as_it_has_to_be() -> None:
    taken = []

    def stream() -> Iterator[np.ndarray]:
        while True:
            taken.append(len(taken))
            yield X

    assert data_for(stream(), ["x"], limit_train=24, limit_test=6).counts == (24, 6)
    assert len(taken) == 6


def test_torch_data_sets_are_of_single_samples() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    source = TensorDataset(torch.tensor(X), torch.arange(20))
    for data in (data_for(source, ["x"]), data_for(DataLoader(source, batch_size=7), ["x"])):
        assert data.labelled
        assert np.array_equal(whole(data, "x"), X)


def bad() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield X, Y
    raise KeyError("gone")


@pytest.mark.parametrize(("source", "message"), [
    ([], "the data have no batches"),
    ([(X, Y, X, Y)], "a batch of the data has 4 parts, the model's inputs are x, y"),
    ([X], "a batch of the data has 1 parts"),
    ([{"x": X, "y": 3}], "a single number for 'y'"),
    ([{"x": X, "y": Y[:5]}], "20 of 'x', 5 of 'y'"),
    ([{"x": X, "y": Y}, {"x": X[:, :2], "y": Y}], "samples of 'x' are 3 and 2: bring them to one shape"),
    ([{"x": np.array(["a", "b"]), "y": Y[:2]}], "'x' holds <U1, no numbers"),
    ([{"x": X[:1], "y": Y[:1]}], "a single sample"),
    (bad(), "reading the data failed: KeyError: 'gone'"),
])  # fmt: skip
def test_what_cant_be_read_is_one_line(source, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        data_for(source, ["x", "y"])
    assert "\n" not in str(caught.value)


def test_parts_have_to_agree() -> None:
    for test in ({"x": X[:, :2]}, {"z": X}):
        with pytest.raises(DataError, match="other names, shapes or labels"):
            Samples("odd", {"x": X}, test)
    with pytest.raises(DataError, match="a limit of 0 samples"):
        divided("some", {"x": X}).limit(0)


def test_another_array_is_another_fingerprint() -> None:
    one, two = divided("a", {"x": X}), divided("a", {"x": X + np.eye(20, 3, dtype=np.float32)})
    assert one.fingerprint() == divided("b", {"x": X}).fingerprint() != two.fingerprint()


def test_arrays_in_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "feeds.npz", x=X, y=Y, labels=np.arange(20))
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", X)
    np.save(tmp_path / "arrays" / "y.npy", np.asfortranarray(Y))
    np.save(tmp_path / "x.npy", X)
    found = [data_for(tmp_path / name, ["x", "y"]) for name in ("feeds.npz", "arrays")]
    for data in found:
        assert np.array_equal(whole(data, "x"), X)
        assert np.array_equal(whole(data, "y"), Y)
    assert [(data.name, data.labelled) for data in found] == [("feeds", True), ("arrays", False)]
    assert np.array_equal(whole(data_for(tmp_path / "x.npy", ["some"]), "some"), X)
    with pytest.raises(DataError, match="is one array, the model has 2 inputs: x, y"):
        data_for(tmp_path / "x.npy", ["x", "y"])
    np.save(tmp_path / "code.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    for name, message in (("code.npy", "may be any code"), ("cut.npy", "bytes of values for float32")):
        with pytest.raises(DataError, match=f"{name} is not an .npy file of an array: .*{message}"):
            data_for(tmp_path / name, ["x"])


def test_pictures_without_classes(tmp_path: Path) -> None:
    pictures = pytest.importorskip("PIL.Image")
    for number in range(10):
        pictures.fromarray(np.full((4, 6), 20 * number, np.uint8)).save(tmp_path / f"{number}.png")
    data = data_for(tmp_path, ["x"])
    assert isinstance(data, Dataset)
    assert (data.counts, data.shape, data.labelled, data.classes) == ((8, 2), (1, 4, 6), False, 0)
    assert data.augmentation["flip"] is False
    assert data.note.startswith("images without labels")
    pixels = [int(image.max()) for part in (data.train_images, data.test_images) for image in part]
    assert sorted(pixels) == list(range(0, 200, 20))
    assert data_for(tmp_path, ["x"], limit_train=3).note.endswith("3 of 8 training images")
    (tmp_path / "5.png").write_bytes(b"no picture")
    assert "1 of " in data_for(tmp_path, ["x"]).note
    other = data_for(tmp_path, ["x"])
    assert data.fingerprint() != other.fingerprint()


def test_pictures_at_the_size_of_the_model(tmp_path: Path) -> None:
    pictures = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for number, shape in enumerate(((40, 20), (16, 12), (8, 6, 3), (30, 30))):
        pictures.fromarray(random.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / f"{number}.png")
    data = data_for(tmp_path, ["x"], size=(3, 8, 6))
    assert (data.counts, data.shape) == ((3, 1), (3, 8, 6))
    assert "3 images resized to 3x8x6" in data.note
    found = np.concatenate([data.train_images, data.test_images])
    for number in range(4):
        picture = pictures.open(tmp_path / f"{number}.png").convert("RGB").resize((6, 8), pictures.Resampling.BILINEAR)
        assert (found == np.asarray(picture).transpose(2, 0, 1)).all((1, 2, 3)).any()


def test_what_has_labels_keeps_them(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=[0, 1, 0, 1], x_test=images, y_test=[0, 1, 0, 1])
    data = data_for(tmp_path / "set.npz", ["x"])
    assert isinstance(data, Dataset)
    assert data.classes == 2
    assert data_for(data, ["x"], limit_test=2).counts == (4, 2)
