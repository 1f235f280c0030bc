"""Every augmented image is compared with what slicing the image by hand gives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from chanc.data.augment import Augment, Moves  # noqa: E402


def _images(count: int = 64, height: int = 9, width: int = 7, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, height, width, channels), generator=generator).to(torch.uint8)


def _draw(augment: Augment, images: torch.Tensor, seed: int = 1) -> Moves:
    count, height, width, _ = images.shape
    return augment.draw(count, height, width, torch.Generator().manual_seed(seed))


def test_crop_is_a_window_of_the_padded_image() -> None:
    images = _images()
    augment = Augment(crop_padding=2, flip=False)
    moves = _draw(augment, images)
    out = augment.crop_flip(images, moves)
    padded = torch.nn.functional.pad(images, (0, 0, 2, 2, 2, 2))
    for k in range(len(images)):
        top, left = int(moves.top[k]), int(moves.left[k])
        assert torch.equal(out[k], padded[k, top : top + 9, left : left + 7])
    assert set(moves.top.tolist()) == set(moves.left.tolist()) == {0, 1, 2, 3, 4}


def test_flip_is_a_mirror_image_of_about_half() -> None:
    images = _images(400)
    augment = Augment(crop_padding=0, flip=True)
    moves = _draw(augment, images)
    out = augment.crop_flip(images, moves)
    for image, result, mirrored in zip(images, out, moves.mirrored, strict=True):
        assert torch.equal(result, image.flip(1) if mirrored else image)
    assert 160 < int(moves.mirrored.sum()) < 240


def test_crop_then_flip() -> None:
    images = _images()
    augment = Augment(crop_padding=3, flip=True)
    moves = _draw(augment, images)
    out = augment.crop_flip(images, moves)
    padded = torch.nn.functional.pad(images, (0, 0, 3, 3, 3, 3))
    for k, mirrored in enumerate(moves.mirrored.tolist()):
        window = padded[k, moves.top[k] : moves.top[k] + 9, moves.left[k] : moves.left[k] + 7]
        assert torch.equal(out[k], window.flip(1) if mirrored else window)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_cutout_blanks_one_square_and_nothing_else(side: int) -> None:
    images = _images().permute(0, 3, 1, 2).float()
    augment = Augment(crop_padding=0, flip=False, cutout=side)
    moves = _draw(augment, _images())
    out = augment.cut(images.clone(), moves)
    for k in range(len(images)):
        top, left = int(moves.row[k]) - side // 2, int(moves.column[k]) - side // 2
        expected = images[k].clone()
        expected[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
        assert torch.equal(out[k], expected)
    assert set(moves.row.tolist()) == set(range(9))
    assert set(moves.column.tolist()) == set(range(7))


def test_nothing_asked_for_is_the_identity() -> None:
    images = _images()
    augment = Augment(crop_padding=0, flip=False, cutout=0)
    moves = _draw(augment, images)
    assert torch.equal(augment.crop_flip(images, moves), images)
    floats = images.permute(0, 3, 1, 2).float()
    assert torch.equal(augment.cut(floats.clone(), moves), floats)


def test_moves_follow_the_generator_alone() -> None:
    images = _images()
    augment = Augment()
    torch.manual_seed(1)
    first = _draw(augment, images, seed=5)
    torch.manual_seed(2)
    second = _draw(augment, images, seed=5)
    other = _draw(augment, images, seed=6)
    assert torch.equal(first.top, second.top)
    assert torch.equal(first.mirrored, second.mirrored)
    assert not torch.equal(first.top, other.top)


def test_switches_do_not_shift_the_stream() -> None:
    images = _images()
    with_flip, without = (_draw(Augment(flip=flip), images) for flip in (True, False))
    assert torch.equal(with_flip.row, without.row)
    assert not without.mirrored.any()
