"""Data sets in memory or in files: RGB images in [0, 1] with labels, names and, if known, masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evident.contracts import Splits
from evident.errors import UserError
from evident.values import Batch

NO_LABEL = -1  # of an image whose class is unknown


class Rows(Protocol):
    """Hold images or masks, one per row: a tensor, or an object that reads the requested rows from files.

    Indexing with a tensor of indices returns a tensor of these rows; a slice returns rows of the same type.
    """

    @property
    def shape(self) -> torch.Size: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


def block_of(length: int, count: int, number: int) -> slice:
    """Return the rows of block `number` of `count` rows each; after the last whole block the first one follows again.

    Blocks let every network explain images of its own. Raises `UserError` if there are fewer than `count` rows.
    """
    if not 0 < count <= length:
        raise UserError(f"{count} images requested, but the set has {length}; request 1 to {length}")
    start = number % (length // count) * count
    return slice(start, start + count)


class ImageSet(Dataset[Batch]):
    """Hold images uint8 (N, 3 or 1, H, W), labels (N,) or `NO_LABEL`, names and optional masks bool (N, H, W).

    `others` are masks of the evidence for other classes, for images that show several, and `tiles` the tiles that show
    the labelled class, for images that are grids of images. A batch is a dictionary of `image` float (B, 3, H, W) in
    [0, 1], `label` (B,), `index` (B,) into `names` and, if the set has them, `mask`, `other` and `tile` bool (B, H, W).
    """

    def __init__(
        self,
        images: Rows,
        labels: Tensor,
        names: Sequence[str],
        masks: Rows | None = None,
        others: Rows | None = None,
        tiles: Rows | None = None,
    ) -> None:
        self.images, self.labels, self.names = images, labels.long(), tuple(names)
        self.masks, self.others, self.tiles = masks, others, tiles

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        image = self.images[index].float().div_(255).expand(-1, 3, -1, -1).contiguous()
        batch = {"image": image, "label": self.labels[index], "index": index}
        optional = {"mask": self.masks, "other": self.others, "tile": self.tiles}
        return batch | {key: masks[index] for key, masks in optional.items() if masks is not None}

    def block(self, count: int, number: int = 0) -> "ImageSet":
        """Return block `number` of `count` images (`block_of`); raise `UserError` if the set has fewer images."""
        return self.rows(block_of(len(self), count, number))

    def rows(self, rows: slice) -> "ImageSet":
        """Return the images of these rows."""
        optional = (None if each is None else each[rows] for each in (self.masks, self.others, self.tiles))
        return ImageSet(self.images[rows], self.labels[rows], self.names[rows], *optional)

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}


@dataclass(frozen=True)
class ImageSplits(Splits):
    """Hold the training, validation and test set of one data set, and its class names in label order."""

    train: ImageSet
    val: ImageSet
    test: ImageSet
    classes: tuple[str, ...]

    def split(self, name: str) -> ImageSet:
        """Return the split called `name`; raise `UserError` for an unknown name, or if it has no images."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        if name not in splits:
            raise UserError(f"unknown split {name!r}; use one of {', '.join(splits)}")
        if not len(splits[name]):
            raise UserError(f"the data set has no images in {name}; give it some (data.build) or use another split")
        return splits[name]

    def class_names(self) -> tuple[str, ...]:
        return self.classes


def _unchanged(batch: Any) -> Any:
    return batch


def loader(images: Dataset[Batch], batch_size: int, shuffle_seed: int | None = None) -> DataLoader:
    """Return a loader of `images` in their order, or shuffled by `shuffle_seed`."""
    # Also without shuffling: a loader draws a seed when it starts, by default from torch's global generator.
    generator = torch.Generator().manual_seed(shuffle_seed or 0)
    return DataLoader(
        images,
        batch_size,
        shuffle=shuffle_seed is not None,
        generator=generator,
        collate_fn=_unchanged,
    )
