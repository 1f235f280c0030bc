from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from chanc.data.augment import Augment  # noqa: E402
from chanc.data.batches import Batches  # noqa: E402
from chanc.data.contract import InputContract  # noqa: E402
from chanc.errors import DataError  # noqa: E402

_MEAN, _STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
_CONTRACT = InputContract(1 / 255, _MEAN, _STD)


def _data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image k holds k (mod 256) everywhere, and its label is k."""
    values = torch.arange(count)
    return (values % 256).to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).clone(), values


def _batches(count: int, size: int, seed: int | None = 0, augment: Augment | None = None) -> Batches:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return Batches(*_data(count), size, _CONTRACT, augment, generator)


@pytest.mark.parametrize(("count", "sizes"), [(96, [32, 32, 32]), (100, [32, 32, 32, 4]), (97, [32, 32, 33]), (5, [5])])
def test_no_image_is_dropped_and_none_is_alone(count: int, sizes: list[int]) -> None:
    batches = _batches(count, 32)
    seen = [labels for _, labels in batches]
    assert [len(labels) for labels in seen] == sizes
    assert len(batches) == len(sizes)
    assert sorted(torch.cat(seen).tolist()) == list(range(count))


def test_without_a_generator_the_order_is_kept() -> None:
    labels = torch.cat([labels for _, labels in _batches(65, 32, seed=None)])
    assert labels.tolist() == list(range(65))


def test_images_are_normalised_channels_last_and_stay_with_their_labels() -> None:
    for images, labels in _batches(100, 32):
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        value = (labels[:, None].double() / 255 - torch.tensor(_MEAN).double()) / torch.tensor(_STD).double()
        expected = value.float()[:, :, None, None].expand_as(images)
        torch.testing.assert_close(images, expected, rtol=2e-6, atol=1e-6)


def test_epochs_differ_and_a_saved_state_repeats_one() -> None:
    batches = _batches(100, 32, augment=Augment(cutout=3))
    assert batches.generator is not None
    first = list(batches)
    state = batches.generator.get_state()
    second = list(batches)
    batches.generator.set_state(state)
    again = list(batches)
    assert not torch.equal(first[0][1], second[0][1])
    for (images, labels), (same_images, same_labels) in zip(second, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)


def test_a_seed_means_these_batches() -> None:
    """The stream itself, so that another machine or version that draws otherwise is noticed."""
    labels = torch.cat([labels for _, labels in _batches(10, 4, seed=3)])
    assert labels.tolist() == [6, 0, 3, 7, 8, 5, 1, 9, 2, 4]


def test_cutout_leaves_the_mean_colour() -> None:
    batches = _batches(64, 32, augment=Augment(crop_padding=0, flip=False, cutout=4))
    for images, _ in batches:
        blank = (images == 0).all(dim=1).sum(dim=(1, 2))
        assert int(blank.min()) >= 4
        assert int(blank.max()) == 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_the_same_batches() -> None:
    images, labels = _data(100)
    here, there = (
        Batches(images.to(device), labels.to(device), 32, _CONTRACT, Augment(), torch.Generator().manual_seed(0))
        for device in ("cpu", "cuda")
    )
    for (cpu_images, cpu_labels), (gpu_images, gpu_labels) in zip(here, there, strict=True):
        assert torch.equal(cpu_labels, gpu_labels.cpu())
        torch.testing.assert_close(cpu_images, gpu_images.cpu(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shuffled", [False, True])
def test_pixels_between_whole_numbers_are_fed_as_they_are_and_stay(shuffled: bool) -> None:
    images, labels = torch.rand(8, 3, 4, 4) * 255, torch.arange(8)
    kept = images.clone()
    generator = torch.Generator().manual_seed(0) if shuffled else None
    for _ in range(2):
        batches = Batches(images, labels, 4, InputContract(1.0), Augment(0, False, 0) if shuffled else None, generator)
        for batch, numbers in batches:
            assert torch.equal(batch, kept[numbers])
    assert torch.equal(images, kept)


def test_blue_comes_first_where_the_model_has_it_so() -> None:
    images, labels = (torch.rand(3, 3, 4, 4) * 255).round().to(torch.uint8), torch.arange(3)
    ((fed, _),) = Batches(images, labels, 4, InputContract(1.0, (104.0, 117.0, 124.0), (1.0, 2.0, 4.0), "NHWC", "BGR"))
    wanted = images.flip(1).permute(0, 2, 3, 1).float()
    torch.testing.assert_close(fed, (wanted - torch.tensor([104.0, 117.0, 124.0])) / torch.tensor([1.0, 2.0, 4.0]))
    with pytest.raises(DataError, match="1 channels have no blue"):
        Batches(images[:, :1], labels, 4, InputContract(order="BGR"))


def test_misuse_is_refused() -> None:
    images, labels = _data(10)
    with pytest.raises(ValueError, match="uint8"):
        Batches(images.double(), labels, 4, _CONTRACT)
    with pytest.raises(ValueError, match="uint8"):
        Batches(images, labels[:9], 4, _CONTRACT)
    with pytest.raises(ValueError, match="generator"):
        Batches(images, labels, 4, _CONTRACT, Augment())
    with pytest.raises(ValueError, match="batch size"):
        Batches(images, labels, 1, _CONTRACT, None, torch.Generator())
