"""Two data sets that train one network: scenes that people voted on, and others whose attributes are known.

No image needs both (Marcos et al., ICCV-W 2019). A batch of the first has `average` and `variance` (B,) of the votes,
one of the second `attributes` (B, K) in {0, 1/3, 2/3, 1}, the share of three annotators who saw each attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from evident.data.images import Batch

SCORES = ("average", "variance")


class Scenes(Protocol):
    """Train, validation and test images of one of the two sets."""

    @property
    def train(self) -> Any: ...
    @property
    def val(self) -> Any: ...
    @property
    def test(self) -> Any: ...


class Truth(NamedTuple):
    """What a painter knows of N scenes: which pixels show which attribute, and what that is worth, in votes.

    attribute_masks bool (N, K, H, W); contributions (N, K), of each attribute to the score; contribution_map (N, H, W),
    where all of that comes from; typical (N, K), what the attributes usually contribute where they are there, which is
    the same for every scene.
    """

    attribute_masks: Tensor
    contributions: Tensor
    contribution_map: Tensor
    typical: Tensor


class Removals(NamedTuple):
    """N scenes painted again without one attribute each, P pictures in all.

    Of scene `row` (P,) `attribute` (P,) is gone in images (P, 3, H, W) in [0, 1], by which its true score has risen by
    `change` (P,).
    """

    row: Tensor
    attribute: Tensor
    images: Tensor
    change: Tensor


@dataclass(frozen=True)
class SceneSplits:
    """Scenes with votes, and others with attributes, named by `attribute_names`; `explained` is one of the two."""

    scenicness: Scenes
    attributes: Scenes
    attribute_names: Sequence[str]
    classes: tuple[str, ...] = SCORES
    explained: Literal["scenicness", "attributes"] = "scenicness"

    def true_scores(self) -> dict[str, Tensor]:
        """`true` (N, 2), the scores of the test scenes before anyone voted on them; nothing where nobody knows."""
        truth = getattr(self.scenicness.test, "truth", None)
        return {} if truth is None else {"true": torch.stack([truth["score"], truth["score_variance"]], 1)}

    @property
    def train(self) -> Dataset[Batch]:
        return self.scenicness.train

    @property
    def val(self) -> Any:
        return getattr(self, self.explained).val

    @property
    def test(self) -> Any:
        return getattr(self, self.explained).test
