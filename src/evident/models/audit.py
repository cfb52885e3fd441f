"""Whether a network uses what the masks mark, and nothing else: an audit for leaks of the class."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evident.models.untouched import untouched
from evident.values import ChangedImages

FOLLOWS, CHANGES, ERRORS = 0.99, 0.01, 3  # shares of images; standard errors above chance


@dataclass(frozen=True)
class Audit:
    """Hold shares of n images: of which the prediction is right, follows the evidence, changes with its surroundings.

    `grey` is the share whose prediction is still right without colour; `classes` counts the possible classes.
    """

    n: int
    classes: int
    accuracy: float
    recoloured: float
    surrounded: float
    grey: float

    @property
    def passed(self) -> bool:
        """Whether tables with masks may show the network.

        At least 99 % of its predictions follow a new colour of the marked part, at most 1 % change with everything
        else, and without colour no more are right than by chance (three standard errors).
        """
        chance = 1 / self.classes
        limit = chance + ERRORS * math.sqrt(chance * (1 - chance) / self.n)
        return self.recoloured >= FOLLOWS and self.surrounded <= CHANGES and self.grey <= limit


def audit(network: nn.Module, changed: ChangedImages, classes: int, batch_size: int = 128) -> Audit:
    """Measure what the predictions of a classifier depend on. The network is not changed."""

    def predicted(images: Tensor) -> Tensor:
        return torch.cat([network(part.float() / 255).argmax(1) for part in images.split(batch_size)])

    with untouched(network), torch.no_grad():
        before = predicted(changed.images)
        return Audit(
            len(before),
            classes,
            accuracy=_share(before == changed.labels),
            recoloured=_share(predicted(changed.recoloured) == changed.new_labels),
            surrounded=_share(predicted(changed.surrounded) != before),
            grey=_share(predicted(changed.grey) == changed.labels),
        )


def _share(of: Tensor) -> float:
    return of.double().mean().item()
