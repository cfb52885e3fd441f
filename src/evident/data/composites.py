"""Two images of different classes side by side: where the evidence of each class can lie, and where it cannot.

A data set made of another one's images, the grid pointing game's (Böhle, Fritz, Schiele 2021, arXiv 2104.00032) with a
grid of two, for networks that average over the whole of their last feature map and so take any width. Each pair is in
it twice, once for the class of its left and once for that of its right image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evident.data.images import ImageSet, Rows, Splits


@dataclass(frozen=True)
class SideBySide:
    """Rows (N, ..., H, 2W): of image or mask pairs[n] (N, 2) of `rows`, the halves that `kept` (N, 2) bool marks."""

    rows: Rows
    pairs: Tensor
    kept: Tensor

    @property
    def shape(self) -> torch.Size:
        *one, width = self.rows.shape[1:]
        return torch.Size([len(self.pairs), *one, 2 * width])

    def __getitem__(self, rows: Tensor | slice) -> "SideBySide | Tensor":
        pairs, kept = self.pairs[rows], self.kept[rows]
        if isinstance(rows, slice):
            return SideBySide(self.rows, pairs, kept)
        whole = (1,) * (len(self.shape) - 1)
        return torch.cat([self.rows[pairs[:, side]] * kept[:, side].view(-1, *whole) for side in (0, 1)], -1)


def composites(base: Splits, seed: int) -> Splits:
    """Pairs of the images of `val` and of `test`, drawn by `seed` and without those of one class.

    Labels are the classes of the left and of the right image in turn; masks are those of the labelled object, `others`
    those of the object beside it. No image is in two pairs. `train` stays as it is: what a network or an explainer has
    learnt, it has learnt from single images.
    """
    return Splits(base.train, _paired(base.val, seed), _paired(base.test, seed), base.classes)


def _paired(images: ImageSet, seed: int) -> ImageSet:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    pairs = order[: len(order) // 2 * 2].view(-1, 2)
    left, right = images.labels[pairs].unbind(1)
    pairs = pairs[left != right].repeat_interleave(2, dim=0)
    side = torch.arange(len(pairs)) % 2
    own = torch.stack([side == 0, side == 1], 1)
    names = [
        f"{images.names[one]}+{images.names[other]} {('left', 'right')[place]}"
        for (one, other), place in zip(pairs.tolist(), side.tolist(), strict=True)
    ]
    return ImageSet(
        SideBySide(images.images, pairs, torch.ones_like(own)),
        images.labels[pairs[own]],
        names,
        None if images.masks is None else SideBySide(images.masks, pairs, own),
        None if images.masks is None else SideBySide(images.masks, pairs, ~own),
    )
