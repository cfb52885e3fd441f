"""Kendall's tau-b, of many rankings at once and of items that count more or less than once."""

import torch
from torch import Tensor


def kendall(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """tau-b (...) of two rankings (..., K) whose items count `weights` (..., K).

    NaN where either ranks nothing, or has a NaN.

    With s_ij and t_ij the signs of what first and second differ by between items i and j, and each pair counting
    w_i w_j, it is sum s t / sqrt(sum s^2 sum t^2): scipy's `kendalltau` of items repeated as often as they count.
    Float64; dimensions before the last are those of any, broadcast.
    """
    first, second, w = first.double(), second.double(), weights.double()
    s, t = (torch.sign(values[..., :, None] - values[..., None, :]) for values in (first, second))

    def counted(pairs: Tensor) -> Tensor:
        return ((w[..., None, :] @ pairs).squeeze(-2) * w).sum(-1)

    both = (counted(s.square()) * counted(t.square())).sqrt()
    known = ~(first.isnan() | second.isnan()).any(-1)
    return (counted(s * t) / both).where((both > 0) & known, torch.nan)
