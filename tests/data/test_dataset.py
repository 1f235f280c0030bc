from __future__ import annotations

import numpy as np
import pytest

import chanc.data
from chanc.data.dataset import Dataset, make, statistics, stratified
from chanc.errors import DataError


def _noise(count: int, shape: tuple[int, int, int], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, size=(count, *shape), dtype=np.uint8)
    return images, (np.arange(count) % classes).astype(np.int64)


def _dataset(shape: tuple[int, int, int] = (3, 8, 8), classes: int = 4) -> Dataset:
    return make("noise", _noise(100, shape, classes, 0), _noise(40, shape, classes, 1))


def test_stratified_keeps_proportions_and_count() -> None:
    labels = np.repeat(np.arange(3), [600, 300, 100]).astype(np.int64)
    chosen = stratified(labels, 55, seed=3)
    assert len(chosen) == 55 == len(set(chosen.tolist()))
    assert (np.diff(chosen) > 0).all()
    counts = np.bincount(labels[chosen], minlength=3)
    assert (np.abs(counts - np.array([33, 16.5, 5.5])) < 1).all()


@pytest.mark.parametrize("count", [1, 2, 7, 9])
def test_stratified_hits_the_count_when_quotas_have_remainders(count: int) -> None:
    labels = np.repeat(np.arange(3), [4, 3, 3]).astype(np.int64)
    assert len(stratified(labels, count, seed=0)) == count


def test_stratified_follows_its_seed_and_nothing_else() -> None:
    labels = np.tile(np.arange(10), 50).astype(np.int64)
    np.random.seed(1)
    first = stratified(labels, 60, seed=5)
    np.random.seed(2)
    assert (stratified(labels, 60, seed=5) == first).all()
    assert (stratified(labels, 60, seed=6) != first).any()


def test_stratified_stream_is_frozen() -> None:
    # RandomState's permutation is fixed for good by numpy's compatibility policy: [2 8 4 9 1 6 7 3 0 5] for seed 0.
    assert stratified(np.zeros(10, np.int64), 4, seed=0).tolist() == [2, 4, 8, 9]


def test_limit_is_noted_and_leaves_classes_alone() -> None:
    small = _dataset().limit(2, 8, seed=1)
    assert (len(small.train_labels), len(small.test_labels), small.classes) == (2, 8, 4)
    assert small.note == "2 of 100 training images, 8 of 40 test images"
    assert _dataset().limit(1000).note == ""
    with pytest.raises(DataError, match="limit of 0"):
        _dataset().limit(0)


def test_limited_images_keep_their_labels() -> None:
    whole = _dataset()
    small = whole.limit(30, seed=1)
    for image, label in zip(small.train_images, small.train_labels, strict=True):
        index = int((whole.train_images == image).all(axis=(1, 2, 3)).argmax())
        assert whole.train_labels[index] == label


def test_split_partitions_the_training_images() -> None:
    whole = _dataset()
    part = whole.split(0.2, seed=1)
    assert (len(part.train_labels), len(part.test_labels)) == (80, 20)
    assert np.bincount(part.test_labels).tolist() == [5, 5, 5, 5]
    together = {image.tobytes() for image in np.concatenate([part.train_images, part.test_images])}
    assert together == {image.tobytes() for image in whole.train_images}
    assert not together & {image.tobytes() for image in whole.test_images}


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.001])
def test_split_refuses_an_empty_part(fraction: float) -> None:
    with pytest.raises(DataError, match="is empty"):
        _dataset().split(fraction)


def test_statistics_agree_with_floating_point() -> None:
    images, _ = _noise(50, (3, 5, 7), 2, 0)
    images[:, 2] = 9
    mean, std = statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], scaled.std(axis=(0, 2, 3))[:2], rtol=1e-12)
    assert std[2] == 1.0


@pytest.mark.timeout(20)
@pytest.mark.parametrize("label", [10**12, -1])
def test_a_label_out_of_range_is_refused_at_once(label: int) -> None:
    images = np.zeros((3, 1, 4, 4), np.uint8)
    with pytest.raises(DataError, match=rf"^set: a label \[1\] is {label}: labels are whole numbers from 0 to 999999$"):
        make("set", (images, np.array([0, label, 1])), (images, np.array([0, 1, 2])))


@pytest.mark.timeout(20)
def test_images_without_pixels_are_refused_before_they_are_counted() -> None:
    images, labels = np.zeros((3, 1, 0, 4), np.uint8), np.arange(3)
    with pytest.raises(DataError, match=r"training images must be .* not uint8 \[3, 1, 0, 4\]"):
        make("set", (images, labels), (images, labels))


def test_fine_pixels_keep_their_statistics_and_fits() -> None:
    random = np.random.default_rng(0)
    sixteen = random.integers(0, 65536, size=(20, 3, 6, 6), dtype=np.uint16)
    images, labels = (sixteen / 257).astype(np.float32), np.arange(20) % 2
    dataset = make("fine", (images, labels), (images, labels))
    np.testing.assert_allclose(dataset.mean, (sixteen / 65535).mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(dataset.std, (sixteen / 65535).std(axis=(0, 2, 3)), rtol=1e-6)
    grey = dataset.fit_to(1, 6, 6).train_images
    np.testing.assert_allclose(grey[:, 0], np.tensordot(images, [0.299, 0.587, 0.114], axes=(1, 0)), rtol=1e-6)
    small = dataset.fit_to(3, 3, 3).train_images
    np.testing.assert_allclose(small.mean(), images.mean(), rtol=0.02)
    assert small.dtype == np.float32
    assert (small != np.rint(small)).mean() > 0.9


def test_fit_repeats_grey_and_keeps_constant_images() -> None:
    images = np.repeat(np.arange(0, 100, 10, dtype=np.uint8), 64).reshape(10, 1, 8, 8)
    labels = np.arange(10, dtype=np.int64)
    fitted = make("flat", (images, labels), (images, labels)).fit_to(3, 32, 20)
    assert fitted.shape == (3, 32, 20)
    assert (fitted.train_images == images[:, :, :1, :1]).all()
    assert fitted.note == "1x8x8 brought to 3x32x20"
    assert len(fitted.mean) == 3


def test_fit_upsamples_as_bilinear_with_pixel_centres() -> None:
    torch = pytest.importorskip("torch")
    dataset = _dataset((1, 8, 8))
    ours = dataset.fit_to(1, 32, 24).train_images
    images = torch.from_numpy(dataset.train_images).double()
    theirs = torch.nn.functional.interpolate(images, (32, 24), mode="bilinear", align_corners=False).numpy()
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-9


def test_fit_shrinks_by_averaging() -> None:
    torch = pytest.importorskip("torch")
    dataset = _dataset((3, 32, 32))
    ours = dataset.fit_to(3, 8, 12).train_images
    images = torch.from_numpy(dataset.train_images).double()
    theirs = torch.nn.functional.interpolate(images, (8, 12), mode="bilinear", antialias=True).numpy()
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-6


def test_fit_to_luma_and_to_its_own_shape() -> None:
    dataset = _dataset()
    grey = dataset.fit_to(1, 8, 8)
    expected = np.rint(np.tensordot(dataset.train_images, [0.299, 0.587, 0.114], axes=(1, 0)))
    assert (grey.train_images[:, 0] == expected).all()
    assert dataset.fit_to(3, 8, 8) is dataset
    with pytest.raises(DataError, match="3 channels, the model takes 4"):
        dataset.fit_to(4, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((100, 3, 8, 8), np.float64)}, "must be uint8 or float32"),
        ({"train_images": np.full((100, 3, 8, 8), 256, np.float32)}, "values outside 0..255"),
        ({"train_images": np.full((100, 3, 8, 8), np.nan, np.float32)}, "values outside 0..255"),
        ({"train_labels": np.zeros(99, np.int64)}, "100 training images but 99 labels"),
        ({"test_labels": np.full(40, 4, np.int64)}, "test label lies outside 0..3"),
        ({"test_labels": np.full(40, -1, np.int64)}, "test label lies outside"),
        ({"test_images": np.zeros((40, 1, 8, 8), np.uint8)}, "test images 1x8x8"),
        ({"class_names": ("a",)}, "1 class names for 4 classes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    fields = {name: getattr(_dataset(), name) for name in Dataset.__dataclass_fields__}
    with pytest.raises(DataError, match=message):
        Dataset(**{**fields, **change})


def test_digits() -> None:
    digits = chanc.data.load("digits")
    assert (digits.shape, digits.classes) == ((1, 8, 8), 10)
    assert (len(digits.train_labels), len(digits.test_labels)) == (1437, 360)
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    assert np.bincount(digits.test_labels).min() >= 34
    again = chanc.data.load("digits", seed=7)
    assert (again.test_images == digits.test_images).all()


@pytest.mark.nightly  # scikit-learn's own reader takes a second, and 70 MB that stay
def test_digits_are_the_originals() -> None:
    raw = pytest.importorskip("sklearn.datasets").load_digits()
    digits = chanc.data.load("digits")
    images = np.concatenate([digits.train_images, digits.test_images])[:, 0]
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    ours = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    scaled = np.rint(raw.images * 255 / 16).astype(np.uint8)
    theirs = sorted((image.tobytes(), int(label)) for image, label in zip(scaled, raw.target, strict=True))
    assert ours == theirs


def test_synthetic_is_always_the_same_and_says_what_it_is() -> None:
    first, second = chanc.data.load("synthetic"), chanc.data.load("synthetic", seed=9)
    assert (first.train_images == second.train_images).all()
    assert first.shape == (3, 32, 32)
    assert "made-up" in first.note


@pytest.mark.parametrize(("name", "flip"), [("digits", False), ("MNIST", False), ("fashion-mnist", True)])
def test_written_characters_are_not_mirrored(name: str, flip: bool) -> None:
    images, labels = np.zeros((4, 1, 28, 28), np.uint8), np.arange(4) % 2
    assert make(name, (images, labels), (images, labels)).augmentation == {"crop_padding": 3, "flip": flip}
