"""Complexity: over how many pixels a heatmap is spread. Both measures are NaN for a heatmap of zeros."""

import torch
from torch import Tensor

from evident.metrics.contract import Explanation, metric


@metric(direction="neither")
def gini(explanation: Explanation) -> Tensor:
    """Compute the Gini index G = sum_i (2i - n - 1) |h|_(i) / (n sum |h|).

    |h|_(i), i = 1..n, are the absolute values of the n pixels in ascending order. G (N,) float64 ranges from 0
    for a constant map to 1 - 1/n for a single pixel.
    Source: Hurley, Rickard 2009, arXiv 0811.4706; for explanations Chalasani et al. 2020, arXiv 1810.06583.
    """
    size = explanation.heatmap.detach().flatten(1).double().abs().sort(1).values
    n = size.shape[1]
    i = torch.arange(1, n + 1, device=size.device)
    return ((2 * i - n - 1) * size).sum(1) / (n * size.sum(1))


@metric(direction="neither")
def entropy(explanation: Explanation) -> Tensor:
    """Compute the entropy H = -sum p log p in nats, with p = |h| / sum |h|.

    H (N,) float64 ranges from 0 for a single pixel to log(HW) for a constant map.
    Source: Bhatt, Weller, Moura 2020, arXiv 2005.00631, complexity.
    """
    size = explanation.heatmap.detach().flatten(1).double().abs()
    return torch.special.entr(size / size.sum(1, keepdim=True)).sum(1)
