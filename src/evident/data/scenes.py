"""Two data sets that train one network: scenes that people voted on, and others whose attributes are known.

No image needs both (Marcos et al., ICCV-W 2019). A batch of the first has `average` and `variance` (B,) of the votes,
one of the second `attributes` (B, K) in {0, 1/3, 2/3, 1}, the share of three annotators who saw each attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


@dataclass(frozen=True)
class SceneSplits:
    """Scenes with votes, which are explained, and scenes with attributes, whose names are `attribute_names`."""

    scenicness: Scenes
    attributes: Scenes
    attribute_names: Sequence[str]
    classes: tuple[str, ...] = SCORES

    @property
    def train(self) -> Dataset[Batch]:
        return self.scenicness.train

    @property
    def val(self) -> Dataset[Batch]:
        return self.scenicness.val

    @property
    def test(self) -> Any:
        return self.scenicness.test
