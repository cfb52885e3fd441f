"""Explainers whose heatmap is a known function of the pixels, for tests of metrics that explain noisy images."""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.metrics.contract import Explanation, heatmaps


class Scaled(Attribution):
    """Return a function of the pixels as the attribution."""

    def __init__(self, function) -> None:
        super().__init__(nn.Identity())
        self.function = function

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return self.function(inputs)

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.sum(1)


def images_in_range(count: int = 3) -> Tensor:
    """Return noise (count, 3, 12, 14) in [0.1, 0.9], which small changes keep in [0, 1]."""
    return 0.1 + 0.8 * torch.rand(count, 3, 12, 14, generator=torch.Generator().manual_seed(0))


def explained(explainer: Attribution, images: Tensor, mask: Tensor | None = None) -> Explanation:
    target = torch.arange(len(images))
    return Explanation(images, target, heatmaps(explainer, images, target, mask), mask, explainer=explainer)
