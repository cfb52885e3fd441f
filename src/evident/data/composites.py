"""Two images of different classes side by side: all evidence for a class lies in the half that shows it.

The images come from another data set. This is the grid pointing game (Böhle, Fritz, Schiele 2021, arXiv 2104.00032)
with a grid of two. It suits networks that average over their whole last feature map and so accept any width. Each pair
occurs twice, once with the class of its left image and once with the class of its right image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evident.data.images import ImageSet, ImageSplits, Rows


@dataclass(frozen=True)
class SideBySide:
    """Join rows in pairs: row n is rows[pairs[n, 0]] beside rows[pairs[n, 1]] (N, ..., H, 2W).

    A half is zero where `kept` (N, 2) bool is False.
    """

    rows: Rows
    pairs: Tensor
    kept: Tensor

    @property
    def shape(self) -> torch.Size:
        *leading, width = self.rows.shape[1:]
        return torch.Size([len(self.pairs), *leading, 2 * width])

    def __getitem__(self, rows: Tensor | slice) -> "SideBySide | Tensor":
        pairs, kept = self.pairs[rows], self.kept[rows]
        if isinstance(rows, slice):
            return SideBySide(self.rows, pairs, kept)
        ones = (1,) * (len(self.shape) - 1)
        return torch.cat([self.rows[pairs[:, side]] * kept[:, side].view(-1, *ones) for side in (0, 1)], -1)


def composites(base: ImageSplits, seed: int) -> ImageSplits:
    """Pair the images of `val` and of `test` at random by `seed`; drop pairs of one class.

    Labels are the classes of the left and of the right image in turn. `masks` show the labelled object, `others` the
    object beside it. No image is in two pairs. `train` is unchanged: networks and explainers learn from single images.
    """
    return ImageSplits(base.train, _paired(base.val, seed), _paired(base.test, seed), base.classes)


def _paired(images: ImageSet, seed: int) -> ImageSet:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    pairs = order[: len(order) // 2 * 2].view(-1, 2)
    left, right = images.labels[pairs].unbind(1)
    pairs = pairs[left != right].repeat_interleave(2, dim=0)
    side = torch.arange(len(pairs)) % 2
    labelled = torch.stack([side == 0, side == 1], 1)
    names = [
        f"{images.names[first]}+{images.names[second]} {('left', 'right')[position]}"
        for (first, second), position in zip(pairs.tolist(), side.tolist(), strict=True)
    ]
    return ImageSet(
        SideBySide(images.images, pairs, torch.ones_like(labelled)),
        images.labels[pairs[labelled]],
        names,
        None if images.masks is None else SideBySide(images.masks, pairs, labelled),
        None if images.masks is None else SideBySide(images.masks, pairs, ~labelled),
    )
