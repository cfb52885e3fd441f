"""Test measures of networks of scenes.

scenicness    rmse, mean absolute error and R^2 = 1 - sum (y - s)^2 / sum (y - mean y)^2, in votes; Kendall's tau-b
attributes    average precision of each attribute, positive if more than half of the annotators saw it; their mean
"""

import torch
from scipy.stats import kendalltau
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from evident.data.scenes.splits import SCORES

NAMES = ("rmse", "mae", "r2", "tau")


def scenicness_measures(predicted: Tensor, votes: Tensor) -> dict[str, float]:
    """Compare predicted scores (N, 2) with average and variance of the votes (N, 2).

    Return `rmse`, `mae`, `r2` and `tau` of the average, and `variance_...` of the variance. R^2 and tau are NaN if all
    votes are equal, tau also if all scores are; all four are if the votes are unknown (NaN).
    """
    measured: dict[str, float] = {}
    for column, score in enumerate(SCORES):
        s, y = predicted[:, column].double().cpu(), votes[:, column].double().cpu()
        error, spread = s - y, ((y - y.mean()) ** 2).sum()
        varied = bool(spread > 1e-20 * (y**2).sum())  # equal votes leave a rounding error
        r2 = 1 - (error**2).sum() / spread if varied else torch.tensor(torch.nan)
        ordered = len(y) > 1 and varied
        tau = kendalltau(s.numpy(), y.numpy()).statistic if ordered else torch.nan
        values = ((error**2).mean().sqrt(), error.abs().mean(), r2, tau)
        prefix = "" if score == SCORES[0] else f"{score}_"
        measured |= {f"{prefix}{name}": float(value) for name, value in zip(NAMES, values, strict=True)}
    return measured


def attribute_precision(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return the average precision (K,) of attributes (N, K) against labels (N, K) in [0, 1].

    NaN for an attribute without a label above one half.
    """
    precision = torch.full((labels.shape[1],), torch.nan, dtype=torch.float64)
    # On the CPU: a GPU has no deterministic cumulative sum.
    predicted, present = predicted.cpu(), labels.cpu() > 0.5
    for attribute in present.any(0).nonzero().flatten().tolist():
        precision[attribute] = binary_average_precision(predicted[:, attribute], present[:, attribute].long())
    return precision
