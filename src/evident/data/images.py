"""What every data set hands on: RGB images in [0, 1] with labels, names and, where they exist, masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evident.errors import UserError

Batch = dict[str, Tensor]


class Rows(Protocol):
    """Images or masks, one a row: a tensor, or what reads from files those rows that are asked for.

    A tensor of indices gives a tensor of these rows, a slice gives rows of the same kind.
    """

    @property
    def shape(self) -> torch.Size: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class ImageSet(Dataset[Batch]):
    """Images uint8 (N, 3 or 1, H, W), labels (N,), names, masks bool (N, H, W) or none; in memory or in files.

    `others` are masks of another class's evidence, where an image shows two. A batch is a dictionary of `image` float
    (B, 3, H, W) in [0, 1], `label` (B,), `index` (B,) into `names` and, where the set has them, `mask` and `other`
    bool (B, H, W).
    """

    def __init__(
        self,
        images: Rows,
        labels: Tensor,
        names: Sequence[str],
        masks: Rows | None = None,
        others: Rows | None = None,
    ) -> None:
        self.images, self.labels, self.names = images, labels.long(), tuple(names)
        self.masks, self.others = masks, others

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        image = self.images[index].float().div_(255).expand(-1, 3, -1, -1).contiguous()
        batch = {"image": image, "label": self.labels[index], "index": index}
        marked = {"mask": self.masks, "other": self.others}
        return batch | {key: masks[index] for key, masks in marked.items() if masks is not None}

    def first(self, count: int) -> "ImageSet":
        """The first `count` images; raises `UserError` where there are fewer."""
        if not 0 < count <= len(self):
            raise UserError(f"{count} images asked for; 1 to {len(self)} are there")
        masks, others = (None if rows is None else rows[:count] for rows in (self.masks, self.others))
        return ImageSet(self.images[:count], self.labels[:count], self.names[:count], masks, others)

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}


@dataclass(frozen=True)
class Splits:
    """Train, validation and test set of one data set, and the names of its classes in label order."""

    train: ImageSet
    val: ImageSet
    test: ImageSet
    classes: tuple[str, ...]


def _as_it_is(batch: Any) -> Any:
    return batch


def loader(images: Dataset[Batch], batch_size: int, shuffle_seed: int | None = None) -> DataLoader:
    """Batches of `images` in order, or in an order that `shuffle_seed` alone decides."""
    # A generator of its own, also where nothing is shuffled: torch draws from it whenever a loader starts.
    generator = torch.Generator().manual_seed(shuffle_seed or 0)
    return DataLoader(
        images,
        batch_size,
        shuffle=shuffle_seed is not None,
        generator=generator,
        collate_fn=_as_it_is,
    )
