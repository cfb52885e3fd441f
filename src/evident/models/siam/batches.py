"""The batches that networks of scenes learn from: drawn at random, each image seen differently every time.

The paper resizes to 500x500, rotates by up to 5 degrees, crops 450x450 anywhere and flips half of the images
(PAPERS 3.2). That is `augmented`. Interpolation blurs small images, and what has learnt from blurred ones is off on
sharp ones, so these are `shifted` as far as the paper's crops are, and flipped: our choice. Templates know top from
bottom, so nothing is flipped upside down.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import InterpolationMode, v2

from evident.data.images import Batch

Augment = Callable[[Tensor], Tensor]


def augmented(size: int, margin: float = 10 / 9, degrees: float = 5, flip: float = 0.5) -> Augment:
    """From an image (3, H, W) to size x size: resized to `margin` times that, rotated, cropped at random, flipped."""
    resized = round(size * margin)
    return v2.Compose(
        [
            v2.Resize([resized, resized]),
            v2.RandomRotation(degrees, InterpolationMode.BILINEAR),
            v2.RandomCrop(size),
            v2.RandomHorizontalFlip(flip),
        ]
    )


def shifted(size: int, margin: float = 10 / 9, flip: float = 0.5) -> Augment:
    """From an image (3, size, size) to one of that size, shifted in each direction at random and flipped.

    It moves by at most as far as an image `margin` times as large would in `augmented`; what comes in is mirrored.
    """
    furthest = round(size * (margin - 1) / 2)
    crop = v2.RandomCrop(size, padding=furthest, padding_mode="reflect")
    return v2.Compose([crop, v2.RandomHorizontalFlip(flip)])


class Augmented(Dataset[Batch]):
    """The images of a data set, another view of them each time."""

    def __init__(self, images: Any, augment: Augment) -> None:
        # Photos that are read from files keep what a crop would otherwise have cut off.
        self.images = images.uncropped() if hasattr(images, "uncropped") else images
        self.augment = augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Batch:
        batch = self.images.__getitems__(indices)
        # One by one, because torchvision draws once a call, and each image wants a draw of its own.
        return {**batch, "image": torch.stack([self.augment(image) for image in batch["image"]])}


def drawn(images: Any, batch_size: int, steps: int, seed: int, augment: Augment | None = None) -> DataLoader:
    """So many batches an epoch, drawn by `seed`; in an epoch no image comes again before all have come."""
    generator = torch.Generator().manual_seed(seed)
    seen = images if augment is None else Augmented(images, augment)
    sampler = RandomSampler(seen, num_samples=steps * batch_size, generator=generator)
    return DataLoader(seen, batch_size, sampler=sampler, generator=generator, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
