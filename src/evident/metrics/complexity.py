"""How few pixels a heatmap needs; both measures are undefined, NaN, for a heatmap of zeros."""

import torch
from torch import Tensor

from evident.metrics.contract import Explanation, metric


@metric(direction="higher")
def gini(explanation: Explanation) -> Tensor:
    """G = sum_i (2i - n - 1) |h|_(i) / (n sum |h|), with the n pixels' |h|_(i) ascending, i = 1..n.

    From 0 for a constant map to 1 - 1/n for a single pixel (N,), in float64.
    Source: Hurley, Rickard 2009, arXiv 0811.4706; for explanations Chalasani et al. 2020, arXiv 1810.06583.
    """
    size = explanation.heatmap.detach().flatten(1).double().abs().sort(1).values
    n = size.shape[1]
    i = torch.arange(1, n + 1, device=size.device)
    return ((2 * i - n - 1) * size).sum(1) / (n * size.sum(1))


@metric(direction="lower")
def entropy(explanation: Explanation) -> Tensor:
    """H = -sum p log p in nats, with p = |h| / sum |h|.

    From 0 for a single pixel to log(HW) for a constant map (N,), in float64.
    Source: Bhatt, Weller, Moura 2020, arXiv 2005.00631, complexity.
    """
    size = explanation.heatmap.detach().flatten(1).double().abs()
    return torch.special.entr(size / size.sum(1, keepdim=True)).sum(1)
