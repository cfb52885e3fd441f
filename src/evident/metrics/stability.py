"""Stability: the change of a heatmap under small changes of the image."""

import torch
from torch import Tensor

from evident.metrics.contract import Explanation, metric
from evident.metrics.noise import noisy_heatmaps


@metric(direction="lower", needs=("explainer",))
def stability(explanation: Explanation, radius: float = 0.02, draws: int = 10, seed: int = 0) -> Tensor:
    """Compute max_d ||h(x + d) - h(x)|| / ||h(x)|| (N,) over `draws` of uniform noise d in [-radius, radius].

    h(x) is the heatmap of image x and h(x + d) the heatmap of the noisy image, clipped to [0, 1], for the same target,
    both in float64. The noise depends on the image and the seed only. The score is non-negative, and NaN for a heatmap
    of zeros. Raises `UserError` without an explainer, for `draws` below 1 and for a `radius` of 0 or less.
    Source: Yeh et al. 2019, arXiv 1901.09392, max-sensitivity, which does not divide; we divide as captum's
    `sensitivity_max` does, so that heatmaps of different scales can be compared.
    """
    heatmap = explanation.heatmap.detach().flatten(1).double()
    change = torch.zeros_like(heatmap[:, 0])
    for _, moved in noisy_heatmaps(explanation, radius, draws, seed, "stability"):
        change = torch.maximum(change, (moved - heatmap).norm(dim=1))
    size = heatmap.norm(dim=1)
    return (change / size).where(size > 0, torch.nan)
