"""Training batches of scenes: drawn at random and augmented.

The paper resizes to 500x500, rotates by up to 5 degrees, crops 450x450 at a random position and flips half of the
images (Marcos et al. 2019): `augmented` does the same. Interpolation blurs small images, and a network trained on
blurred images errs on sharp ones. `shifted` therefore only moves small images, as far as the paper's crops do, and
flips them: our choice. Templates distinguish top from bottom, so no image is flipped vertically.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import InterpolationMode, v2

from evident.contracts import Uncropped
from evident.values import Batch

Augment = Callable[[Tensor], Tensor]


def augmented(size: int, margin: float = 10 / 9, degrees: float = 5, flip: float = 0.5) -> Augment:
    """Return a transform from an image (3, H, W) to `size` x `size`.

    It resizes to `margin` * `size`, rotates by up to `degrees`, crops at a random position and flips horizontally with
    probability `flip`.
    """
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
    """Return a transform from an image (3, `size`, `size`) to one of the same size, shifted and flipped at random.

    The shift in each direction is at most that of `augmented` with the same `margin`; the image is reflected at its
    border to fill the gap.
    """
    furthest = round(size * (margin - 1) / 2)
    crop = v2.RandomCrop(size, padding=furthest, padding_mode="reflect")
    return v2.Compose([crop, v2.RandomHorizontalFlip(flip)])


class Augmented(Dataset[Batch]):
    """Apply `augment` to the images of a data set whenever they are read."""

    def __init__(self, images: Any, augment: Augment) -> None:
        # A random crop should reach the borders that the data set's own centre crop cuts off.
        self.images: Any = images.uncropped() if isinstance(images, Uncropped) else images
        self.augment = augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Batch:
        batch = self.images.__getitems__(indices)
        # One image at a time: torchvision draws its random parameters once per call.
        return {**batch, "image": torch.stack([self.augment(image) for image in batch["image"]])}


def random_batches(images: Any, batch_size: int, steps: int, seed: int, augment: Augment | None = None) -> DataLoader:
    """Return a loader of `steps` batches per epoch, drawn from `seed`.

    Within an epoch no image repeats before all have been drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    views = images if augment is None else Augmented(images, augment)
    sampler = RandomSampler(views, num_samples=steps * batch_size, generator=generator)
    return DataLoader(views, batch_size, sampler=sampler, generator=generator, collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:
    return batch
