"""Kendall's tau-b of many rankings at once, with weights for the items."""

import torch
from torch import Tensor


def kendall(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """Compute tau-b (...) float64 in [-1, 1] of two rankings (..., K) with `weights` (..., K) of the items.

    s_ij and t_ij are the signs of the differences between items i and j in `first` and `second`, and each pair has the
    weight w_i w_j: tau-b = sum s t / sqrt(sum s^2 sum t^2). This is scipy's `kendalltau` of items repeated as often as
    their weights say. All dimensions before the last are broadcast. NaN where a ranking is constant or contains NaN.
    """
    first, second, w = first.double(), second.double(), weights.double()
    s, t = (torch.sign(values[..., :, None] - values[..., None, :]) for values in (first, second))

    def weighted_sum(pairs: Tensor) -> Tensor:
        return ((w[..., None, :] @ pairs).squeeze(-2) * w).sum(-1)

    norm = (weighted_sum(s.square()) * weighted_sum(t.square())).sqrt()
    known = ~(first.isnan() | second.isnan()).any(-1)
    return (weighted_sum(s * t) / norm).where((norm > 0) & known, torch.nan)
