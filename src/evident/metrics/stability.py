"""Stability: the change of a heatmap under small changes of the image."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation, heatmaps, metric


@metric(direction="lower", needs=("explainer",))
def stability(explanation: Explanation, radius: float = 0.02, draws: int = 10, seed: int = 0) -> Tensor:
    """Compute max_d ||h(x + d) - h(x)|| / ||h(x)|| (N,) over `draws` of uniform noise d in [-radius, radius].

    h(x) is the heatmap of image x and h(x + d) the heatmap of the noisy image, clipped to [0, 1], for the same target,
    both in float64. The noise depends on the image and the seed only. The score is non-negative, and NaN for a heatmap
    of zeros. Raises `UserError` without an explainer, for `draws` below 1 and for a `radius` of 0 or less.
    Source: Yeh et al. 2019, arXiv 1901.09392, max-sensitivity, which does not divide; we divide as captum's
    `sensitivity_max` does, so that heatmaps of different scales can be compared.
    """
    images = explanation.images
    if explanation.explainer is None:
        raise UserError("stability explains noisy images and needs the explainer; give it to the Explanation")
    if draws < 1 or radius <= 0:
        raise UserError(f"draws={draws}, radius={radius}: stability needs draws >= 1 and radius > 0")
    heatmap = explanation.heatmap.detach().flatten(1).double()
    generators = [image_generator(image, seed) for image in images]
    change = torch.zeros_like(heatmap[:, 0])
    for _ in range(draws):
        noise = torch.stack([torch.rand(images.shape[1:], generator=generator) for generator in generators]).to(images)
        noisy = (images + radius * (2 * noise - 1)).clamp(0, 1)
        moved = heatmaps(explanation.explainer, noisy, explanation.target, explanation.mask).detach()
        change = torch.maximum(change, (moved.flatten(1).double() - heatmap).norm(dim=1))
    size = heatmap.norm(dim=1)
    return (change / size).where(size > 0, torch.nan)
