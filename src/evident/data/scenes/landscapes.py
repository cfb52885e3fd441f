"""Rendered landscapes whose scenicness follows a known formula, for experiments with SIAM.

Two data sets of different images, as in the paper (Marcos et al., ICCV-W 2019): one has labelled attributes, the share
of three annotators who saw each; the other has the average and the population variance of people's votes. Both kinds of
label follow from what is visible by the formulas of `evident.data.render.landscape.truth`, which also give the true
contribution of each attribute and of each pixel. A scene is identified by its set, its split, the seed and an index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evident.contracts import KnowsTruth, Removable
from evident.data.images import block_of
from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import RENDER_FORMAT, Scene
from evident.data.scenes.renderings import LandscapeRenderer
from evident.data.scenes.splits import SPLITS, SceneSplits
from evident.errors import UserError
from evident.values import Batch, Removals


@dataclass(frozen=True)
class PackedMasks:
    """Hold masks, bool (N, K, H, W), as uint8 (N, K, bytes) with eight pixels per byte; unpack them on access."""

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


class LandscapeSet(Dataset[Batch], KnowsTruth, Removable):
    """Hold images uint8 (N, 3, H, W) with labels, ground truth and attribute masks (N, K, H, W).

    `labels` and `truth` map names to tensors of N rows. Labels of a set with attributes: `attributes` (N, K) in
    {0, 1/3, 2/3, 1}. Labels of a set with votes: `average` and `variance` (N,), and `votes` int8 (N, R), padded with 0
    for images with fewer votes. Ground truth, without the noise of votes and annotators: `seen`, `contributions` and
    `typical` (N, K), `score` (N,), and `expected` (N, 2), the expected average and variance of the votes.

    A batch is a dictionary of `image` float (B, 3, H, W) in [0, 1], `index` (B,) into `names`, and the labels. If
    `gives_truth`, it also has the ground truth, `attribute_masks` (B, K, H, W), the true `contribution_map` (B, H, W)
    and the `mask` (B, H, W) of the pixels that raise the score.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Mapping[str, Tensor],
        names: Sequence[str],
        attribute_masks: PackedMasks,
        ground_truth: Mapping[str, Tensor],
        gives_truth: bool,
        renderer: LandscapeRenderer,
    ) -> None:
        self.images, self.labels, self.names = images, dict(labels), tuple(names)
        self.attribute_masks, self.truth, self.gives_truth = attribute_masks, dict(ground_truth), gives_truth
        self._renderer = renderer

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        batch = {"image": self.images[index].float().div_(255), "index": index}
        batch |= {name: values[index] for name, values in self.labels.items()}
        if self.gives_truth:
            batch |= {name: values[index] for name, values in self.truth.items()}
            masks = torch.as_tensor(self.attribute_masks[index])
            contribution_map = torch.from_numpy(truth.contribution_map(masks.numpy())).float()
            batch |= {"attribute_masks": masks, "contribution_map": contribution_map, "mask": contribution_map > 0}
        return batch

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def without(self, index: int, attribute: str | None) -> Scene:
        """Render the landscape at `index` again without `attribute`; return its image, masks and ground truth."""
        return self._renderer.render(index, attribute)

    def true_scores(self) -> Tensor:
        """Return the expected average and variance of the votes on each image (N, 2)."""
        return self.truth["expected"]

    def removals(self, index: Tensor) -> Removals:
        """Return the landscapes at `index` (B,) without each attribute that they show, one at a time."""
        original = self._removed["row"]
        position, row = (original[:, None] == index).nonzero(as_tuple=True)
        images = self._removed["images"][position].float().div_(255)
        change = self._removed["score"][position] - self.truth["score"][original[position]]
        return Removals(row, self._removed["attribute"][position], images, change)

    @cached_property
    def _removed(self) -> dict[str, Tensor]:
        return self._renderer.removals(self.truth["seen"] > 0)

    def block(self, count: int, number: int = 0) -> "LandscapeSet":
        """Return block `number` of `count` landscapes (`block_of`); raise `UserError` if the set has fewer."""
        rows = block_of(len(self), count, number)
        labels, true = ({key: values[rows] for key, values in of.items()} for of in (self.labels, self.truth))
        masks = PackedMasks(self.attribute_masks.packed[rows], self.attribute_masks.height, self.attribute_masks.width)
        renderer = replace(self._renderer, first=self._renderer.first + rows.start)
        return LandscapeSet(self.images[rows], labels, self.names[rows], masks, true, self.gives_truth, renderer)


@dataclass(frozen=True)
class Landscapes:
    """Hold the training, validation and test landscapes of one of the two sets."""

    train: LandscapeSet
    val: LandscapeSet
    test: LandscapeSet


def source_of() -> str:
    """Return "rendered FORMAT", which names this version of the images and of the formulas behind their labels."""
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
    """Render landscapes of size x size pixels from `seed` and keep them in `store`; load those that are there.

    `attributes` and `scenicness` give the number of images of each split of the two sets. Each image with votes has
    raters[0] to raters[1] of them. Batches of validation and test images contain the ground truth. Raises `UserError`
    if `source` names another version, if a split has no images, or unless 1 <= raters[0] <= raters[1] <= 400.
    """
    if source != source_of():
        raise UserError(f"unknown landscapes source {source!r}; use {source_of()!r}")
    if len(raters) != 2 or not 1 <= raters[0] <= raters[1] <= truth.RATERS:
        raise UserError(f"data.build.raters={list(raters)}; give the lowest and highest number, 1 to {truth.RATERS}")

    def three(name: str, counts: Mapping[str, int]) -> Landscapes:
        if sorted(counts) != sorted(SPLITS) or min(counts.values()) < 1:
            raise UserError(f"data.build.{name}={dict(counts)}; give 1 or more images for each of {', '.join(SPLITS)}")
        return Landscapes(**{split: _set(name, split, counts[split], raters, seed, size, store) for split in SPLITS})

    scenes, others = three("scenicness", scenicness), three("attributes", attributes)
    return SceneSplits(scenes, others, names_of_attributes=ATTRIBUTES)


def _set(name: str, split: str, count: int, raters: Sequence[int], seed: int, size: int, store: Path) -> LandscapeSet:
    renderer = LandscapeRenderer(f"{name}/{split}", size, seed, store)
    stored = renderer.originals(count)
    seen, areas = stored["seen"].numpy(), stored["areas"].numpy()
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
        "expected": truth.expected(seen, *raters),
    }
    names = [f"{name}-{split}-{index:05d}" for index in range(count)]
    floats = {key: torch.tensor(value).float() for key, value in true.items()}
    masks = PackedMasks(stored["masks"], size, size)
    return LandscapeSet(stored["images"], labels, names, masks, floats, gives_truth=split != "train", renderer=renderer)
