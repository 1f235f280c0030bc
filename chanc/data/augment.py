"""Random crop, flip and cutout of whole batches, as gathers on the device that holds the images.

The random numbers are drawn from a generator on the CPU, for an epoch at once: they are the same on every device, and
the device never waits for them between steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """What is done to training images: amounts in pixels, 0 switches a part off.

    crop_padding: shift by up to this many pixels, black comes in from outside; flip: left-right, with probability
    one half; cutout: side of a square, centred anywhere, that is blanked (DeVries and Taylor 2017).
    """

    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Moves:
        """Random moves for `count` images. Every number is drawn whatever is switched on, so streams stay alike."""
        top = torch.randint(2 * self.crop_padding + 1, (count,), generator=generator)
        left = torch.randint(2 * self.crop_padding + 1, (count,), generator=generator)
        mirrored = torch.randint(2, (count,), generator=generator).bool() & self.flip
        row = torch.randint(height, (count,), generator=generator)
        column = torch.randint(width, (count,), generator=generator)
        return Moves(top, left, mirrored, row, column)

    def crop_flip(self, images: Tensor, moves: Moves) -> Tensor:
        """Cropped and flipped images: [B, H, W, C] in, the same out."""
        if not self.crop_padding and not self.flip:
            return images
        count, height, width, channels = images.shape
        pad = self.crop_padding
        if pad:
            images = functional.pad(images, (0, 0, pad, pad, pad, pad))
        device = images.device
        rows = moves.top[:, None] + torch.arange(height, device=device)
        across = torch.arange(width, device=device)
        columns = moves.left[:, None] + torch.where(moves.mirrored[:, None], width - 1 - across, across)
        first = torch.arange(count, device=device)[:, None, None] * (height + 2 * pad) * (width + 2 * pad)
        source = first + rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
        # One index_select over pixels: twice as fast on a CPU as gather over expanded indices.
        return images.reshape(-1, channels).index_select(0, source.view(-1)).view(count, height, width, channels)

    def cut(self, images: Tensor, moves: Moves) -> Tensor:
        """Images [B, C, H, W] with the cutout square set to 0; on standardised images that is the mean colour."""
        if not self.cutout:
            return images
        height, width = images.shape[2:]
        rows = _inside(moves.row, height, self.cutout)
        columns = _inside(moves.column, width, self.cutout)
        return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0)


@dataclass(frozen=True)
class Moves:
    """One random move an image, each tensor [N]: crop offsets, whether it is flipped, centre of the cutout."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    row: Tensor
    column: Tensor

    def __getitem__(self, part: slice) -> Moves:
        return Moves(*(getattr(self, field.name)[part] for field in fields(self)))

    def to(self, device: torch.device) -> Moves:
        """The same moves on another device."""
        return Moves(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def _inside(centre: Tensor, extent: int, side: int) -> Tensor:
    """[B, extent], true over the `side` positions around `centre` that exist."""
    distance = torch.arange(extent, device=centre.device)[None] - centre[:, None]
    return (distance >= -(side // 2)) & (distance < side - side // 2)
