"""Explanations of noisy images, for metrics of robustness."""

from collections.abc import Iterator

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation, heatmaps


def noisy_heatmaps(
    explanation: Explanation, radius: float, draws: int, seed: int, name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield noisy images x + d (N, 3, H, W) and their heatmaps (N, HW) float64 for the same targets, `draws` times.

    d is uniform noise in [-radius, radius] that depends on the image and the seed only; x + d is clipped to [0, 1].
    Raises `UserError`, in the name of the metric `name`, without an explainer, for `draws` below 1 and for a `radius`
    of 0 or less.
    """
    images = explanation.images
    if explanation.explainer is None:
        raise UserError(f"{name} explains noisy images and needs the explainer; give it to the Explanation")
    if draws < 1 or radius <= 0:
        raise UserError(f"draws={draws}, radius={radius}: {name} needs draws >= 1 and radius > 0")
    generators = [image_generator(image, seed) for image in images]
    for _ in range(draws):
        noise = torch.stack([torch.rand(images.shape[1:], generator=generator) for generator in generators]).to(images)
        noisy = (images + radius * (2 * noise - 1)).clamp(0, 1)
        moved = heatmaps(explanation.explainer, noisy, explanation.target, explanation.mask).detach()
        yield noisy, moved.flatten(1).double()
