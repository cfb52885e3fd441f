"""Two data sets that train one network: scenes that people voted on, and others with labelled attributes.

No image needs both kinds of label (Marcos et al., ICCV-W 2019). A batch of the first set has the `average` and
`variance` (B,) of the votes. A batch of the second set has `attributes` (B, K) in {0, 1/3, 2/3, 1}: the share of three
annotators who saw each attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from evident.contracts import NamesAttributes, Splits
from evident.errors import UserError

SCORES = ("average", "variance")
SPLITS = ("train", "val", "test")


class Scenes(Protocol):
    """Hold the training, validation and test images of one of the two sets."""

    @property
    def train(self) -> Any: ...
    @property
    def val(self) -> Any: ...
    @property
    def test(self) -> Any: ...


def split_of_scenes(scenes: Scenes, name: str) -> Any:
    """Return the split called `name`; raise `UserError` for an unknown name."""
    splits = dict(zip(SPLITS, (scenes.train, scenes.val, scenes.test), strict=True))
    if name not in splits:
        raise UserError(f"unknown split {name!r}; use one of {', '.join(SPLITS)}")
    return splits[name]


@dataclass(frozen=True)
class SceneSplits(Splits, NamesAttributes):
    """Hold scenes with votes and other scenes with attributes.

    A network trains on both. `train` is the set with votes; `val` and `test` belong to the set that is explained,
    `scenicness` or `attributes`. `names_of_attributes` are in label order.
    """

    scenicness: Scenes
    attributes: Scenes
    names_of_attributes: Sequence[str]
    classes: tuple[str, ...] = SCORES
    explained: Literal["scenicness", "attributes"] = "scenicness"

    @property
    def train(self) -> Any:
        return self.scenicness.train

    @property
    def val(self) -> Any:
        return self._explained_scenes.val

    @property
    def test(self) -> Any:
        return self._explained_scenes.test

    @property
    def _explained_scenes(self) -> Scenes:
        return self.scenicness if self.explained == "scenicness" else self.attributes

    def split(self, name: str) -> Any:
        """Return the split called `name`; raise `UserError` for an unknown name."""
        return split_of_scenes(self, name)

    def class_names(self) -> Sequence[str]:
        return self.classes

    def attribute_names(self) -> Sequence[str]:
        return self.names_of_attributes
