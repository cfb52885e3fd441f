"""Images of different classes in one image: all evidence for a class lies in the tile that shows it.

The images come from another data set. This is the grid pointing game (Böhle, Fritz, Schiele 2021, arXiv 2104.00032),
with two images side by side (`composites`) or in a square grid (`grids`). It suits networks that average over their
whole last feature map and so accept any size. Each composite occurs once for each of its images, with its class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evident.data.images import ImageSet, ImageSplits, Rows


@dataclass(frozen=True)
class TiledRows:
    """Join rows in grids of `columns`: row n shows rows[members[n, k]] in tile k, in reading order (N, ..., H, W).

    A tile is zero where `kept` (N, tiles) bool is False.
    """

    rows: Rows
    members: Tensor
    kept: Tensor
    columns: int

    @property
    def shape(self) -> torch.Size:
        *leading, height, width = self.rows.shape[1:]
        lines = self.members.shape[1] // self.columns
        return torch.Size([len(self.members), *leading, lines * height, self.columns * width])

    def __getitem__(self, rows: Tensor | slice) -> "TiledRows | Tensor":
        members, kept = self.members[rows], self.kept[rows]
        if isinstance(rows, slice):
            return TiledRows(self.rows, members, kept, self.columns)
        ones = (1,) * (len(self.shape) - 1)
        tiles = [self.rows[members[:, k]] * kept[:, k].view(-1, *ones) for k in range(members.shape[1])]
        lines = [torch.cat(tiles[k : k + self.columns], -1) for k in range(0, len(tiles), self.columns)]
        return torch.cat(lines, -2)


def composites(base: ImageSplits, seed: int) -> ImageSplits:
    """Pair the images of `val` and of `test` at random by `seed`; drop pairs of one class.

    Labels are the classes of the left and of the right image in turn. `tiles` show the half of the labelled object,
    `masks` the object itself, `others` the object beside it; without masks of single images, objects are whole tiles.
    No image is in two pairs. `train` is unchanged: networks and explainers learn from single images.
    """
    return ImageSplits(base.train, _paired(base.val, seed), _paired(base.test, seed), base.classes)


def grids(base: ImageSplits, seed: int, side: int = 2) -> ImageSplits:
    """Put the images of `val` and of `test` into grids of `side` x `side` images of different classes, by `seed`.

    Labels are the classes of the tiles in turn, in reading order. `tiles`, `masks`, `others` (all other objects) and
    `train` are as in `composites`. No image is in two grids; images that are left over, because too few other classes
    have images left, are dropped.
    """
    val, test = (
        _joined(images, _grouped(images.labels, side**2, seed), side, [f"tile {k + 1}" for k in range(side**2)])
        for images in (base.val, base.test)
    )
    return ImageSplits(base.train, val, test, base.classes)


def _paired(images: ImageSet, seed: int) -> ImageSet:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    pairs = order[: len(order) // 2 * 2].view(-1, 2)
    left, right = images.labels[pairs].unbind(1)
    return _joined(images, pairs[left != right], 2, ["left", "right"])


def _grouped(labels: Tensor, count: int, seed: int) -> Tensor:
    """Return groups (G, count) of images whose classes differ, in random order.

    Each group takes the classes with the most images left, so that few images are left over; chance decides between
    equal ones.
    """
    generator = torch.Generator().manual_seed(seed)
    left: dict[int, list[int]] = {}
    for image in torch.randperm(len(labels), generator=generator).tolist():
        left.setdefault(int(labels[image]), []).append(image)
    groups = []
    while len(left) >= count:
        order = torch.rand(len(left), generator=generator).tolist()
        by_count = sorted(zip(left, order, strict=True), key=lambda item: (-len(left[item[0]]), item[1]))
        # Otherwise the first tiles would show the most frequent classes.
        arranged = torch.randperm(count, generator=generator).tolist()
        groups.append([left[by_count[place][0]].pop() for place in arranged])
        left = {label: images for label, images in left.items() if images}
    return torch.tensor(groups, dtype=torch.long).view(-1, count)


def _joined(images: ImageSet, groups: Tensor, columns: int, places: list[str]) -> ImageSet:
    """Return the composites of groups (G, tiles) of images, each once for every tile."""
    count = groups.shape[1]
    members = groups.repeat_interleave(count, dim=0)
    tile = torch.arange(len(members)) % count
    labelled = tile[:, None] == torch.arange(count)
    names = [
        f"{'+'.join(images.names[member] for member in group)} {places[place]}"
        for group, place in zip(members.tolist(), tile.tolist(), strict=True)
    ]

    ones = torch.ones(1, dtype=torch.bool).expand(len(images), *images.images.shape[-2:])
    objects = ones if images.masks is None else images.masks
    return ImageSet(
        TiledRows(images.images, members, torch.ones_like(labelled), columns),
        images.labels[members[labelled]],
        names,
        TiledRows(objects, members, labelled, columns),
        TiledRows(objects, members, ~labelled, columns),
        TiledRows(ones, members, labelled, columns),
    )
