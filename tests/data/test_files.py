"""idx, npz, Parquet and class folders, on small files made here in the same layouts."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest

import chanc.data
from chanc.data import idx
from chanc.errors import DataError

_RANDOM = np.random.default_rng(0)


def _pixels(count: int, *shape: int) -> np.ndarray:
    return _RANDOM.integers(0, 256, size=(count, *shape), dtype=np.uint8)


def _write_idx(folder: Path, compress: bool) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (_pixels(40, 9, 7), np.arange(40) % 10, _pixels(20, 9, 7), np.arange(20) % 10)
    for name, array in zip(idx._FILES, arrays, strict=True):
        header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        data = header + array.astype(np.uint8).tobytes()
        (folder / (f"{name}.gz" if compress else name)).write_bytes(gzip.compress(data) if compress else data)
    return arrays[0], arrays[1]


@pytest.mark.parametrize("compress", [False, True])
def test_idx(compress: bool, tmp_path: Path) -> None:
    images, labels = _write_idx(tmp_path / "letters", compress)
    dataset = chanc.data.load(tmp_path / "letters")
    assert (dataset.train_images[:, 0] == images).all()
    assert (dataset.train_labels == labels).all()
    assert (dataset.name, dataset.shape, dataset.classes) == ("letters", (1, 9, 7), 10)


def test_idx_damage(tmp_path: Path) -> None:
    _write_idx(tmp_path, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        chanc.data.load(tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(DataError, match=r"is damaged: 2519 bytes of values for the shape \[40, 9, 7\]"):
        chanc.data.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte or .* is missing"):
        chanc.data.load(tmp_path)


def test_fashion_mnist_is_checked_by_md5(tmp_path: Path) -> None:
    _write_idx(tmp_path / "fashion-mnist", compress=True)
    with pytest.raises(DataError, match=r"damaged or not the original.*expected f4a8712d7a061bf5bd6d2ca38dc4d50a"):
        chanc.data.load("fashion-mnist", root=tmp_path)


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")])  # fmt: skip # noqa: E501
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (3, 6, 5)])
def test_npz(names: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path) -> None:
    train, test = _pixels(12, *shape), _pixels(6, *shape)
    arrays = (train, np.arange(12)[:, None] % 3, test, np.arange(6) % 3)
    np.savez(tmp_path / "small.npz", **dict(zip(names, arrays, strict=True)))
    dataset = chanc.data.load(tmp_path / "small.npz")
    expected = train[:, None] if len(shape) == 2 else train.transpose(0, 3, 1, 2) if shape[2] == 3 else train
    assert (dataset.train_images == expected).all()
    assert dataset.train_labels.tolist() == [0, 1, 2] * 4
    assert dataset.name == "small"


def test_npz_of_floats_is_scaled(tmp_path: Path) -> None:
    values = np.array([0, 0.5, 1], np.float32).reshape(3, 1, 1) * np.ones((3, 4, 4), np.float32)
    np.savez(tmp_path / "f.npz", x_train=values, y_train=[0, 1, 2], x_test=values, y_test=[0, 1, 2])
    assert chanc.data.load(tmp_path / "f.npz").train_images[:, 0, 0, 0].tolist() == [0, 127.5, 255]


@pytest.mark.parametrize("value", [np.float32("nan"), np.float32(2), np.float32(-1), np.int64(256), np.int64(-1)])
def test_npz_values_out_of_range(value: np.generic, tmp_path: Path) -> None:
    images = np.full((3, 4, 4), value)
    np.savez(tmp_path / "f.npz", x_train=images, y_train=[0, 1, 2], x_test=images, y_test=[0, 1, 2])
    with pytest.raises(DataError, match="x_train must hold integers"):
        chanc.data.load(tmp_path / "f.npz")


def test_npz_with_objects_other_names_or_damage(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, x_train=np.array([{}], dtype=object), y_train=[0], x_test=[0], y_test=[0])
    with pytest.raises(DataError, match="x_train holds object values, which may be any code"):
        chanc.data.load(path)
    np.savez(path, images=[0], labels=[0])
    with pytest.raises(DataError, match=r"holds \['images', 'labels'\]: expected x_train"):
        chanc.data.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"is not an \.npz file of arrays"):
        chanc.data.load(path)
    path.write_bytes(b"")
    with pytest.raises(DataError):
        chanc.data.load(path)


def _png(pixels: np.ndarray) -> bytes:
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def _write_images(folder: Path, counts: dict[str, int], *shape: int) -> dict[str, list[np.ndarray]]:
    made: dict[str, list[np.ndarray]] = {}
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        made[name] = list(_pixels(count, *shape))
        for k, pixels in enumerate(made[name]):
            (folder / name / f"{k:03}.png").write_bytes(_png(pixels))
    return made


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_class_folders_with_a_test_part(held_out: str, tmp_path: Path) -> None:
    made = _write_images(tmp_path / "train", {"cat": 5, "ant": 3}, 6, 4, 3)
    _write_images(tmp_path / held_out, {"cat": 2, "ant": 2}, 6, 4, 3)
    dataset = chanc.data.load(tmp_path)
    assert dataset.class_names == ("ant", "cat")
    assert dataset.train_labels.tolist() == [0] * 3 + [1] * 5
    assert (dataset.train_images == np.stack(made["ant"] + made["cat"]).transpose(0, 3, 1, 2)).all()
    assert (len(dataset.test_labels), dataset.note) == (4, "")


def test_flat_class_folders_hold_out_a_fifth_always_the_same(tmp_path: Path) -> None:
    made = _write_images(tmp_path, {"a": 20, "b": 10}, 4, 4)
    dataset = chanc.data.load(tmp_path)
    assert np.bincount(dataset.test_labels).tolist() == [4, 2]
    assert np.bincount(dataset.train_labels).tolist() == [16, 8]
    assert dataset.shape == (1, 4, 4)
    both = {i.tobytes() for i in dataset.train_images} | {i.tobytes() for i in dataset.test_images}
    assert both == {i.tobytes() for images in made.values() for i in images}
    assert (chanc.data.load(tmp_path, seed=3).test_images == dataset.test_images).all()
    assert "held out" in dataset.note


def test_images_of_several_sizes_take_the_commonest(tmp_path: Path) -> None:
    _write_images(tmp_path / "train", {"a": 3, "b": 3}, 6, 4, 3)
    (tmp_path / "train" / "a" / "odd.png").write_bytes(_png(np.full((9, 9), 77, np.uint8)))
    _write_images(tmp_path / "test", {"a": 1, "b": 1}, 8, 8)
    dataset = chanc.data.load(tmp_path)
    assert dataset.shape == (3, 6, 4)
    assert (dataset.train_images[3] == 77).all()
    assert dataset.note == "3 images resized to the commonest size"


def test_limits_are_applied_before_decoding(tmp_path: Path) -> None:
    _write_images(tmp_path / "train", {"a": 8, "b": 8}, 4, 4)
    _write_images(tmp_path / "test", {"a": 2, "b": 2}, 4, 4)
    whole = chanc.data.load(tmp_path)
    few = chanc.data.load(tmp_path, limit_train=6, limit_test=2, seed=5)
    assert (few.train_images == whole.limit(6, 2, seed=5).train_images).all()
    assert few.note == "6 of 16 training images; 2 of 4 test images"
    kept = {image.tobytes() for image in few.train_images}
    for path in (tmp_path / "train").rglob("*.png"):
        pixels = np.asarray(pytest.importorskip("PIL.Image").open(path))
        if pixels.tobytes() not in kept:
            path.write_bytes(b"never looked at")
    again = chanc.data.load(tmp_path, limit_train=6, limit_test=2, seed=5)
    assert (again.train_images == few.train_images).all()


def test_folder_mistakes(tmp_path: Path) -> None:
    _write_images(tmp_path / "train", {"a": 2, "b": 2}, 4, 4)
    with pytest.raises(DataError, match="no test or val folder"):
        chanc.data.load(tmp_path)
    _write_images(tmp_path / "test", {"a": 1, "c": 1}, 4, 4)
    with pytest.raises(DataError, match="c is a class that the training part does not have"):
        chanc.data.load(tmp_path)
    (tmp_path / "test" / "c").rename(tmp_path / "test" / "b")
    (tmp_path / "train" / "a" / "000.png").write_bytes(b"no image")
    assert "1 of 4 training images left out, the first: " in chanc.data.load(tmp_path).note
    (tmp_path / "train" / "a" / "001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"training: no image of 'a' can be read: .*a/000\.png can't be decoded"):
        chanc.data.load(tmp_path)


def _write_parquet(path: Path, images: np.ndarray, labels: np.ndarray, image: str, label: str, named: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": _png(pixels), "path": None} for pixels in images]
    table = pa.table({image: rows, "coarse_label": np.zeros(len(rows), np.int64), label: labels})
    if named:
        features = {label: {"names": ["ant", "bee", "cat", "dog"], "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("image", "label", "held_out"), [("img", "label", "test"), ("image", "fine_label", "validation")]
)
@pytest.mark.parametrize("below", ["", "data"])
def test_parquet(image: str, label: str, held_out: str, below: str, tmp_path: Path) -> None:
    folder = tmp_path / "animals" / below
    first, second, test = _pixels(6, 5, 7, 3), _pixels(4, 5, 7, 3), _pixels(4, 5, 7, 3)
    _write_parquet(folder / "train-00000-of-00002.parquet", first, np.arange(6) % 3, image, label, named=True)
    _write_parquet(folder / "train-00001-of-00002.parquet", second, np.arange(4) % 3, image, label, named=True)
    _write_parquet(folder / f"{held_out}-00000-of-00001.parquet", test, np.arange(4) % 3, image, label, named=True)
    dataset = chanc.data.load(tmp_path / "animals")
    assert (dataset.train_images == np.concatenate([first, second]).transpose(0, 3, 1, 2)).all()
    assert dataset.train_labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert (dataset.test_images == test.transpose(0, 3, 1, 2)).all()
    assert (dataset.name, dataset.class_names) == ("animals", ("ant", "bee", "cat", "dog"))


def test_parquet_limit_below_the_classes_keeps_their_number(tmp_path: Path) -> None:
    for part in ("train", "test"):
        path = tmp_path / f"{part}-00000-of-00001.parquet"
        _write_parquet(path, _pixels(8, 4, 4), np.arange(8) % 4, "img", "label", named=False)
    assert chanc.data.load(tmp_path, limit_train=2).classes == 4


def test_empty_parts_are_one_line(tmp_path: Path) -> None:
    _write_images(tmp_path / "one", {"a": 1}, 4, 4)
    with pytest.raises(DataError, match="the training part has no images"):
        chanc.data.load(tmp_path / "one")
    for part, count in (("train", 4), ("test", 0)):
        path = tmp_path / "rows" / f"{part}-00000-of-00001.parquet"
        _write_parquet(path, _pixels(count, 4, 4), np.arange(count) % 2, "img", "label", named=False)
    with pytest.raises(DataError):
        chanc.data.load(tmp_path / "rows")


def test_parquet_mistakes(tmp_path: Path) -> None:
    train = tmp_path / "train-00000-of-00001.parquet"
    _write_parquet(train, _pixels(4, 4, 4), np.arange(4) % 2, "img", "label", named=False)
    with pytest.raises(DataError, match="no test-"):
        chanc.data.load(tmp_path)
    test = tmp_path / "test-00000-of-00001.parquet"
    _write_parquet(test, _pixels(4, 4, 4), np.arange(4) % 2, "picture", "label", named=False)
    with pytest.raises(DataError, match="expected img or image"):
        chanc.data.load(tmp_path)
    test.write_bytes(train.read_bytes()[:200])
    with pytest.raises(DataError, match="can't be read") as caught:
        chanc.data.load(tmp_path)
    assert "\n" not in str(caught.value)
