"""Measures of networks that predict scores and attributes, for every bootstrap draw of the test images at once.

The measures are those of training (R^2, tau, average precision ...), for images that count as often as the bootstrap
draws them. The same images are drawn for every network, so that differences are paired. Labels that are NaN are
unknown, and a score without labels has no measures.
"""

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from evident.metrics.rank import kendall
from evident.report.tables.statistics import RESAMPLES, draws

PREFIXES = ("", "variance_")  # of the measures of each output; votes have an average and a variance
ROUNDING = 1e-20  # of a sum of squares: below it all labels are equal


def score_measures(predicted: Tensor, labels: Tensor, counts: Tensor) -> dict[str, Tensor]:
    """Return rmse, mae, r2 and tau (D,) of predictions (N,) and labels (N,), with images counted `counts` (D, N)."""
    s, y, w = predicted.double(), labels.double(), counts.double()
    total = w.sum(1)
    error = s - y
    squared, mean = w @ error.square(), (w @ y) / total
    spread = (w * (y - mean[:, None]).square()).sum(1)
    return {
        "rmse": (squared / total).sqrt(),
        "mae": w @ error.abs() / total,
        "r2": (1 - squared / spread).where(spread > ROUNDING * (w @ y.square()), torch.nan),
        "tau": kendall(s, y, w),
    }


def average_precision(predicted: Tensor, present: Tensor, counts: Tensor) -> Tensor:
    """Return the average precision (D,) of predictions (N,) for `present` (N,) bool, counted `counts` (D, N).

    Images with equal predictions are retrieved together. NaN if no image that is present is drawn.
    """
    value, order = predicted.sort(descending=True)
    w = counts.double()[:, order]
    hits, selected = (w * present[order]).cumsum(1), w.cumsum(1)
    last = torch.searchsorted(-value, -value, right=True) - 1  # of the images with the same prediction
    precision = hits[:, last] / selected[:, last].clamp(min=1e-9)
    return (w * present[order] * precision).sum(1) / hits[:, -1].where(hits[:, -1] > 0, torch.nan)


def measures(predictions: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return every measure (1 + D,) of one network: first of all images, then of D bootstrap draws."""
    found: dict[str, Tensor] = {}
    if "scores" in predictions:
        counts = _counts(len(predictions["scores"]))
        for column in (~predictions["votes"].isnan().any(0)).nonzero().flatten().tolist():
            prefix = PREFIXES[column] if column < len(PREFIXES) else f"output{column}_"
            of_one = score_measures(predictions["scores"][:, column], predictions["votes"][:, column], counts)
            found |= {f"{prefix}{name}": values for name, values in of_one.items()}
    if "attributes" in predictions:
        predicted, present = predictions["attributes"], predictions["labels"] > 0.5
        each = [
            average_precision(predicted[:, k], present[:, k], _counts_of_both(present[:, k]))
            for k in present.any(0).nonzero().flatten().tolist()
        ]
        if each:
            found["attribute_precision"] = torch.stack(each).mean(0)
    if "removal" in predictions:
        values = predictions["removal"].double()
        counts = _counts(len(values)) * ~values.isnan()
        found["removal"] = counts @ values.nan_to_num() / counts.sum(1)
    return found


def interval(values: Tensor) -> tuple[float, float, float]:
    """Return the value of all images and the 95 % percentile interval of the draws, from `measures` (1 + D,)."""
    drawn = values[1:][~values[1:].isnan()].numpy()
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (float("nan"),) * 2
    return values[0].item(), float(low), float(high)


def interval_over_networks(values: Tensor) -> tuple[float, float, float]:
    """Return the mean of several networks and Student's 95 % interval over them, from their `measures` (S, 1 + D).

    The networks share their test images, so the variance of the mean over draws of the images is added to that over
    networks. A single network has its value and the `interval` of the draws.
    """
    if len(values) == 1:
        return interval(values[0])
    mean, drawn = values[:, 0].mean().item(), values[:, 1:].mean(0)
    variance = values[:, 0].var().item() / len(values) + drawn[~drawn.isnan()].var().item()
    half = student.ppf(0.975, len(values) - 1) * variance**0.5
    return mean, mean - half, mean + half


def _counts(images: int) -> Tensor:
    return torch.from_numpy(np.concatenate([np.ones((1, images)), draws(images)]))


def _counts_of_both(present: Tensor) -> Tensor:
    """Draw images with and without an attribute separately: many draws would have no image that shows a rare one."""
    counts = torch.empty(1 + RESAMPLES, len(present), dtype=torch.float64)
    counts[:, present] = _counts(int(present.sum()))
    counts[:, ~present] = _counts(int((~present).sum()))
    return counts
