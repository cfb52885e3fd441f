"""Local Lipschitz estimate: the change of a heatmap per change of the image."""

import torch
from torch import Tensor

from evident.metrics.contract import Explanation, metric
from evident.metrics.noise import noisy_heatmaps


@metric(direction="lower", needs=("explainer",))
def lipschitz(explanation: Explanation, radius: float = 0.02, draws: int = 3, seed: int = 0) -> Tensor:
    """Compute max_x' ||g(x) - g(x')|| / ||x - x'|| (N,) over `draws` of noisy images x', with g = h / ||h||.

    h(x) is the heatmap of image x and h(x') the heatmap of x' for the same target, both in float64. Each is scaled to
    unit norm, so that heatmaps of different scales can be compared; a heatmap of zeros stays as it is. x' is x with
    uniform noise in [-radius, radius] that depends on the image and the seed only, clipped to [0, 1]. The score is non-
    negative, and NaN where h(x) is zero. ||x - x'|| grows with the number of pixels, so only scores of images of one
    size and one radius can be compared. `stability` draws the same noise for the same seed, and divides the change of h
    by ||h(x)|| alone. Raises `UserError` without an explainer, for `draws` below 1 and for a `radius` of 0 or less.
    Source: Alvarez-Melis and Jaakkola 2018, arXiv 1806.08049, who do not scale h and maximise over a ball around x.
    """
    own, images = explanation.heatmap.detach().flatten(1).double(), explanation.images.double()
    largest = torch.zeros_like(own[:, 0])
    for noisy, moved in noisy_heatmaps(explanation, radius, draws, seed, "lipschitz"):
        distance = (noisy.double() - images).flatten(1).norm(dim=1)
        change = (_unit(moved) - _unit(own)).norm(dim=1)
        largest = torch.maximum(largest, change / distance)
    return largest.where(own.norm(dim=1) > 0, torch.nan)


def _unit(rows: Tensor) -> Tensor:
    """Return rows (N, P) divided by their norms; rows of zeros stay zero."""
    norm = rows.norm(dim=1, keepdim=True)
    return rows / norm.where(norm > 0, 1)
