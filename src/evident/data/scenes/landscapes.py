"""Rendered landscapes whose scenicness has a known cause: what SIAM explains, where the truth can be looked up.

Two data sets of different images, as in the paper (Marcos et al., ICCV-W 2019): one with labels of attributes, the
share of three annotators who saw each, and one with the average and the population variance of people's votes. Both
follow from what is visible by the formulas of `evident.data.render.landscape.truth`, which also give the true
contribution of each attribute and of each place. A scene is named by its set and split, the seed and an index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evident.data.images import Batch
from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import RENDER_FORMAT, Scene
from evident.data.scenes.painter import Painter
from evident.data.scenes.splits import Removals, SceneSplits
from evident.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class PackedMasks:
    """Rows of masks, bool (N, K, H, W), unpacked on access from uint8 (N, K, bytes), eight pixels a byte."""

    packed: Tensor
    height: int
    width: int

    @property
    def shape(self) -> torch.Size:
        return torch.Size([*self.packed.shape[:2], self.height, self.width])

    def __getitem__(self, rows: Tensor | slice) -> "PackedMasks | Tensor":
        if isinstance(rows, slice):
            return PackedMasks(self.packed[rows], self.height, self.width)
        bits = np.unpackbits(self.packed[rows].numpy(), axis=-1, count=self.height * self.width)
        return torch.from_numpy(bits.view(bool)).unflatten(-1, (self.height, self.width))


class LandscapeSet(Dataset[Batch]):
    """Images uint8 (N, 3, H, W) with labels and truth by name, tensors of N rows; `attribute_masks` (N, K, H, W).

    A batch is a dictionary of `image` float (B, 3, H, W) in [0, 1], `index` (B,) into `names`, the labels' rows and,
    where `tells` is true, those of `truth` and `attribute_masks`, of them the true `contribution_map` (B, H, W) and the
    `mask` of what raises the score too. Labels of a set with attributes: `attributes`
    (N, K) in {0, 1/3, 2/3, 1}; of one with votes: `average` and `variance` (N,), `votes` int8 (N, R) with 0 where
    fewer voted. Truth: `seen`, `contributions` and `typical` (N, K),
    `score` and `score_variance` (N,), all before anyone was asked.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Mapping[str, Tensor],
        names: Sequence[str],
        attribute_masks: PackedMasks,
        true: Mapping[str, Tensor],
        tells: bool,
        painter: Painter,
    ) -> None:
        self.images, self.labels, self.names = images, dict(labels), tuple(names)
        self.attribute_masks, self.truth, self.tells = attribute_masks, dict(true), tells
        self._painter = painter

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        batch = {"image": self.images[index].float().div_(255), "index": index}
        batch |= {name: values[index] for name, values in self.labels.items()}
        if self.tells:
            batch |= {name: values[index] for name, values in self.truth.items()}
            masks = torch.as_tensor(self.attribute_masks[index])
            found = torch.from_numpy(truth.contribution_map(masks.numpy())).float()
            batch |= {"attribute_masks": masks, "contribution_map": found, "mask": found > 0}
        return batch

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def without(self, index: int, attribute: str | None) -> Scene:
        """The landscape of that index painted again without an attribute, with its masks and truth."""
        return self._painter.paint(index, attribute)

    def removals(self, index: Tensor) -> Removals:
        """The landscapes of these indices (B,) without each of the attributes that are visible in them, one by one."""
        of = self._removed["row"]
        place, row = (of[:, None] == index).nonzero(as_tuple=True)
        images = self._removed["images"][place].float().div_(255)
        change = self._removed["score"][place] - self.truth["score"][of[place]]
        return Removals(row, self._removed["attribute"][place], images, change)

    @cached_property
    def _removed(self) -> dict[str, Tensor]:
        return self._painter.removals(self.truth["seen"] > 0)

    def first(self, count: int) -> "LandscapeSet":
        """The first `count` landscapes; raises `UserError` where there are fewer."""
        if not 0 < count <= len(self):
            raise UserError(f"{count} landscapes asked for; 1 to {len(self)} are there")
        labels, true = ({key: values[:count] for key, values in of.items()} for of in (self.labels, self.truth))
        masks = PackedMasks(
            self.attribute_masks.packed[:count], self.attribute_masks.height, self.attribute_masks.width
        )
        return LandscapeSet(self.images[:count], labels, self.names[:count], masks, true, self.tells, self._painter)


@dataclass(frozen=True)
class Landscapes:
    """Train, validation and test landscapes of one of the two sets."""

    train: LandscapeSet
    val: LandscapeSet
    test: LandscapeSet


def source_of() -> str:
    """Which landscapes these are: "rendered FORMAT", so that other pictures or tastes are another data set."""
    return f"rendered {RENDER_FORMAT}"


def landscapes(
    attributes: Mapping[str, int],
    scenicness: Mapping[str, int],
    raters: Sequence[int],
    seed: int,
    source: str,
    size: int = 96,
    *,
    root: Path,
    store: Path,
) -> SceneSplits:
    """So many landscapes of size x size by split and set, rendered once from `seed` and kept in `store`.

    Each with votes has from raters[0] to raters[1] of them. Validation and test images tell the truth. Raises
    `UserError` for another `source` than this version's, for a split without images and for raters that are not one
    to 400, the fewest first.
    """
    if source != source_of():
        raise UserError(f"no landscapes source {source!r}; there is {source_of()}")
    if len(raters) != 2 or not 1 <= raters[0] <= raters[1] <= truth.RATERS:
        raise UserError(f"data.build.raters={list(raters)}; give the fewest and the most of 1 to {truth.RATERS}")

    def three(name: str, counts: Mapping[str, int]) -> Landscapes:
        if sorted(counts) != sorted(SPLITS) or min(counts.values()) < 1:
            raise UserError(f"data.build.{name}={dict(counts)}; give 1 or more images for each of {', '.join(SPLITS)}")
        return Landscapes(**{split: _set(name, split, counts[split], raters, seed, size, store) for split in SPLITS})

    scenes, others = three("scenicness", scenicness), three("attributes", attributes)
    return SceneSplits(scenes, others, attribute_names=ATTRIBUTES)


def _set(name: str, split: str, count: int, raters: Sequence[int], seed: int, size: int, store: Path) -> LandscapeSet:
    painter = Painter(f"{name}/{split}", size, seed, store)
    held = painter.paintings(count)
    seen, areas = held["seen"].numpy(), held["areas"].numpy()
    stream = ("landscape", f"{name}/{split}", seed)
    if name == "attributes":
        labels = {"attributes": torch.from_numpy(truth.annotate(areas, *stream)).float()}
    else:
        votes = truth.vote(seen, raters[0], raters[1], *stream)
        labels = {
            "average": torch.from_numpy(votes.average).float(),
            "variance": torch.from_numpy(votes.variance).float(),
            "votes": torch.from_numpy(votes.votes),
        }
    true = {
        "seen": seen,
        "contributions": truth.contributions(seen),
        "typical": np.broadcast_to(truth.WORTH, seen.shape),
        "score": truth.score(seen),
        "score_variance": truth.variance(seen),
    }
    names = [f"{name}-{split}-{index:05d}" for index in range(count)]
    floats = {key: torch.tensor(value).float() for key, value in true.items()}
    masks = PackedMasks(held["masks"], size, size)
    return LandscapeSet(held["images"], labels, names, masks, floats, tells=split != "train", painter=painter)
