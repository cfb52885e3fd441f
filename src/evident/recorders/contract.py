"""What a recorder sees (`Setup`, `ExplainedBatch`) and what it must do (`Recorder`).

A recorder keeps one product of the explained images. To add one, subclass `Recorder` and name the class in a file of
conf/recorder; a config that includes that file records the product.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from captum.attr import Attribution
from torch import Tensor

from evident.cell_folder import CellFolder
from evident.contracts import Splits
from evident.metrics.contract import Explanation
from evident.models.precision import PLAIN, Passes
from evident.models.training import Trained
from evident.values import Batch


@dataclass(frozen=True)
class Setup:
    """Hold what is explained: the explainer, its network, the images and the splits that they come from.

    `labels` are the first columns of every score; `metrics` score every batch; heatmaps of the first `examples` images
    are kept. `splits()` loads the data set on demand, because most explanations of a single picture do not need it.
    `scored_in` is how passes of `forward_only` metrics are computed, `explained_in` how the explainer's are.
    """

    explainer: Attribution
    network: Trained
    images: Any
    splits: Callable[[], Splits]
    labels: Mapping[str, Any]
    metrics: Mapping[str, Callable[..., Any]]
    examples: int
    scored_in: Passes = PLAIN
    explained_in: Passes = PLAIN


@dataclass(frozen=True)
class ExplainedBatch:
    """Hold one batch: what the data set gave, its explanation, and what the explanation cost (`metrics.cost.Cost`)."""

    batch: Batch
    explanation: Explanation
    cost: Mapping[str, float]


class Recorder:
    """Keep one product of the explained images.

    It applies to explainers that satisfy one of the protocols in `products`, and to all if there are none.
    """

    products: ClassVar[tuple[type, ...]] = ()
    of_pictures: ClassVar[bool] = True  # False: the product does not depend on the explained images

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @classmethod
    def applies(cls, explainer: Any) -> bool:
        """Return whether there is anything to record of explainers of this class."""
        return not cls.products or (isinstance(explainer, type) and issubclass(explainer, cls.products))

    def record(self, explained: ExplainedBatch) -> None:
        """Keep the values of one batch that the product needs."""

    def save(self, folder: CellFolder) -> None:
        """Write the product once all batches are recorded."""


class FirstImages:
    """Collect tensors of the first `count` images, batch by batch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[dict[str, Tensor]] = []

    @property
    def missing(self) -> int:
        """The number of images that are still missing."""
        return self.count - sum(len(next(iter(kept.values()))) for kept in self._kept)

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep the first rows of these tensors, all of one length, as many as are still missing."""
        if (wanted := self.missing) > 0:
            # Copies: a view would keep its whole batch in memory.
            self._kept.append({name: value[:wanted].detach().cpu().clone() for name, value in tensors.items()})

    def all(self) -> dict[str, Tensor]:
        """Return the rows of all batches in one tensor for each name."""
        return {name: torch.cat([kept[name] for kept in self._kept]) for name in self._kept[0]} if self._kept else {}


def as_pixels(images: Tensor) -> Tensor:
    """Convert images in [0, 1] to uint8."""
    return (images * 255).round().byte()
