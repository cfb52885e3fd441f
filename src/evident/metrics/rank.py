"""Rankings, many at once: Kendall's tau-b with weights for the items, and ranks with ties."""

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


def average_ranks(values: Tensor) -> Tensor:
    """Return the ranks (N, P) float64 in [1, P] of each row of values; equal values share the mean of their ranks.

    Pearson's correlation of ranks is Spearman's. Rows with NaN have NaN ranks.
    """
    values = values.double().contiguous()
    ordered = values.sort(1).values
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    ranks = (below + up_to + 1).double() / 2
    return ranks.where(~values.isnan().any(1, keepdim=True), torch.nan)


def gini_correlation(amounts: Tensor, values: Tensor) -> Tensor:
    """Compute how well the order of `values` (N, P) finds `amounts` (N, P): (N,) float64 in [-1, 1].

    cov(a, rank(v)) / cov(a, rank(a)), with average ranks: 1 if the highest values have the largest amounts, 0 for
    values without a relation to them, -1 for the reverse. The amounts count as they are, so an order among negligible
    ones does not; of the values the order counts alone. Constant values have 0. NaN for constant amounts and where a
    value is NaN. Source: Schechtman and Yitzhaki 1987.
    """
    amounts = amounts.double()
    centred = amounts - amounts.mean(1, keepdim=True)
    own, best = ((centred * average_ranks(ranked)).sum(1) for ranked in (values, amounts))
    constant = amounts.amax(1) == amounts.amin(1)
    return (own / best).where(~constant, torch.nan)
