"""Localisation: how well a heatmap finds the mask of the true evidence.

All scores are NaN for an empty mask and for a heatmap with non-finite values.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, metric


def pixels_and_masks(explanation: Explanation, name: str) -> tuple[Tensor, Tensor]:
    """Return heatmaps (N, HW) float64 and masks (N, HW) bool for the metric `name`."""
    if explanation.mask is None:
        raise UserError(f"{name} needs masks, which the data set does not have; leave it out or choose other data")
    return explanation.heatmap.detach().flatten(1).double(), explanation.mask.flatten(1)


def where_defined(values: Tensor, heatmap: Tensor, mask: Tensor) -> Tensor:
    """Set `values` (N, ...) to NaN, in place, for an empty mask and for a non-finite heatmap; return them."""
    values[~(mask.any(1) & heatmap.isfinite().all(1))] = torch.nan
    return values


@metric(direction="higher", needs=("mask",))
def iou_area(explanation: Explanation, thresholds: int = 100) -> Curve:
    """Compute IoU(t) = |{h > t} and mask| / |{h > t} or mask| over thresholds t, for heatmaps h scaled to [0, 1].

    The curve has values (N, thresholds) at the centres of equal bins of [0, 1]. Its area is in [0, 1]: exactly one for
    the mask itself, unless it covers the image, and zero for its inverse and for a constant heatmap, which selects no
    pixel. Raises `UserError` without masks and for `thresholds` below 1.
    Source: Oramas, Wang, Tuytelaars 2019, arXiv 1712.06302.
    """
    if thresholds < 1:
        raise UserError(f"thresholds={thresholds} must be 1 or more")
    heatmap, mask = pixels_and_masks(explanation, "iou_area")
    at = (torch.arange(thresholds, dtype=torch.float64, device=heatmap.device) + 0.5) / thresholds
    low, high = heatmap.aminmax(dim=1, keepdim=True)
    scaled = (heatmap - low) / (high - low).where(high > low, 1)
    # Count how many thresholds each pixel exceeds, and make a histogram of these counts inside and outside the mask.
    # Its cumulative sums from the right are the sizes of all selections, without an (N, thresholds, HW) tensor.
    exceeded = torch.bucketize(scaled, at)
    images = torch.arange(len(heatmap), device=heatmap.device)[:, None]
    bins = (2 * images + mask) * (thresholds + 1) + exceeded
    pixels = bins.flatten().bincount(minlength=len(heatmap) * 2 * (thresholds + 1))
    pixels = pixels.view(len(heatmap), 2, thresholds + 1)
    outside, inside = pixels.flip(-1).cumsum(-1).flip(-1)[..., 1:].unbind(1)
    iou = inside / (outside + mask.sum(1, keepdim=True)).double()
    return Curve(at, where_defined(iou, heatmap, mask), axis="thresholds")


@metric(direction="higher", needs=("mask",))
def iou_best(explanation: Explanation, thresholds: int = 100) -> Tensor:
    """Compute the largest IoU (N,) in [0, 1] of heatmap and mask over the thresholds of `iou_area`.

    Raises `UserError` without masks and for `thresholds` below 1.
    Source: Choe et al. 2020, MaxBoxAcc, with masks instead of boxes.
    """
    return iou_area(explanation, thresholds).values.amax(1)


def dilated(mask: Tensor, radius: int) -> Tensor:
    """Return all pixels within `radius` pixels of a mask (N, H, W) bool."""
    offset = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (offset[:, None] ** 2 + offset**2 <= radius**2).float()
    return conv2d(mask[:, None].float(), disc[None, None], padding=radius)[:, 0] > 0.5


@metric(direction="higher", needs=("mask",))
def pointing_game(explanation: Explanation, tolerance: int = 0) -> Tensor:
    """Compute the pointing game (N,): one if the maximum of the heatmap is at most `tolerance` pixels from the mask.

    With several maxima the score is the fraction of maxima inside the mask, enlarged by the tolerance: the expectation
    of choosing one at random. Raises `UserError` without masks and for a negative `tolerance`.
    Source: Zhang et al. 2018, arXiv 1608.00507 (there with a tolerance of 15 pixels).
    """
    if tolerance < 0:
        raise UserError(f"tolerance={tolerance} must be 0 or more")
    heatmap, mask = pixels_and_masks(explanation, "pointing_game")
    hit = dilated(mask.view_as(explanation.heatmap), tolerance).flatten(1) if tolerance else mask
    maxima = heatmap == heatmap.amax(1, keepdim=True)
    return where_defined((maxima & hit).sum(1).double() / maxima.sum(1), heatmap, mask)


@metric(direction="higher", needs=("mask",))
def mass_accuracy(explanation: Explanation) -> Tensor:
    """Compute the share (N,) in [0, 1] of the positive heatmap that is inside the mask; NaN if nothing is positive.

    Raises `UserError` without masks.
    Source: Arras, Osman, Samek 2022, arXiv 2003.07258, relevance mass accuracy.
    """
    heatmap, mask = pixels_and_masks(explanation, "mass_accuracy")
    relevance = heatmap.clamp(min=0)
    return where_defined((relevance * mask).sum(1) / relevance.sum(1), heatmap, mask)


@metric(direction="higher", needs=("mask",))
def rank_accuracy(explanation: Explanation) -> Tensor:
    """Compute the fraction (N,) in [0, 1] of the K highest pixels that lie in the mask, K being the size of the mask.

    Pixels that tie at the K-th value count by their expectation. Raises `UserError` without masks.
    Source: Arras, Osman, Samek 2022, arXiv 2003.07258, relevance rank accuracy.
    """
    heatmap, mask = pixels_and_masks(explanation, "rank_accuracy")
    size = mask.sum(1, keepdim=True)
    kth = heatmap.sort(1, descending=True).values.gather(1, (size - 1).clamp(min=0))
    above, tied = heatmap > kth, heatmap == kth
    tied_share = (size - above.sum(1, keepdim=True)).double() / tied.sum(1, keepdim=True)
    hits = (above & mask).sum(1) + (tied & mask).sum(1) * tied_share.squeeze(1)
    return where_defined(hits / size.squeeze(1), heatmap, mask)


@metric(direction="higher", needs=("mask",))
def average_precision(explanation: Explanation) -> Tensor:
    """Compute AP = sum over thresholds n of (recall_n - recall_n-1) precision_n, over pixels (N,) in [0, 1].

    Every distinct value of the heatmap is a threshold, so tied pixels enter together, as in scikit-learn's
    `average_precision_score`. Raises `UserError` without masks.
    """
    heatmap, mask = pixels_and_masks(explanation, "average_precision")
    value, order = heatmap.sort(1, descending=True)
    hits = mask.gather(1, order).cumsum(1)
    selected = torch.arange(1, value.shape[1] + 1, device=value.device)
    last_of_tie = torch.cat([value[:, 1:] < value[:, :-1], torch.ones_like(mask[:, :1])], 1)
    # Hits never decrease, so the maximum over earlier thresholds is the count at the previous threshold.
    before = (hits * last_of_tie).cummax(1).values.roll(1, 1)
    before[:, 0] = 0
    gained = (hits - before) * last_of_tie
    return where_defined((gained * hits / selected.double()).sum(1) / hits[:, -1], heatmap, mask)
