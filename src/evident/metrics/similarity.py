"""How similar two heatmaps of one image are."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from evident.errors import UserError
from evident.metrics.rank import average_ranks

WINDOW = 11  # pixels of a side: 3.5 standard deviations of the Gaussian window to either side


def similarities(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Return `ssim`, `spearman` and `abs_correlation` (N,) float64 of heatmaps (N, H, W), each in [-1, 1].

    1 means that both show the same. Two constant maps have a similarity of 1: neither shows anything. If only one of
    them is constant, the correlations are 0, as the covariance is. All are NaN where a map has non-finite values.
    Raises `UserError` for maps of fewer than 11 pixels along a side.
    """
    first, second = (heatmap.detach().double() for heatmap in (first, second))
    known = first.flatten(1).isfinite().all(1) & second.flatten(1).isfinite().all(1)
    found = {
        "ssim": ssim(first, second),
        "spearman": correlation(average_ranks(first.flatten(1)), average_ranks(second.flatten(1))),
        "abs_correlation": correlation(first.flatten(1).abs(), second.flatten(1).abs()),
    }
    return {name: values.where(known, torch.nan) for name, values in found.items()}


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Compute the structural similarity (N,) of heatmaps (N, H, W), each scaled to [0, 1], a constant one to 0.

    ((2 m n + c) (2 cov + d)) / ((m^2 + n^2 + c) (v + w + d)), with means m and n, variances v and w and the covariance
    cov of both maps in a Gaussian window (standard deviation 1.5 pixels), c = 0.01^2 and d = 0.03^2; the mean over all
    windows that lie inside the image. Raises `UserError` for maps that are smaller than the window.
    Source: Wang, Bovik, Sheikh, Simoncelli 2004.
    """
    if min(first.shape[-2:]) < WINDOW:
        height, width = first.shape[-2:]
        raise UserError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, these have {height} x {width}")
    one, other = (_in_unit_range(heatmap)[:, None] for heatmap in (first, second))
    _, windows = structural_similarity_index_measure(
        one, other, data_range=1.0, reduction="none", return_full_image=True
    )
    border = WINDOW // 2
    return windows[:, 0, border:-border, border:-border].mean((1, 2))


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compute Pearson's correlation (N,) of values (N, P): 1 for two constant rows, 0 if only one is constant."""
    a, b = (values - values.mean(1, keepdim=True) for values in (first, second))
    # The mean of equal numbers may differ from them in its last bit.
    constant, other = (values.amin(1) == values.amax(1) for values in (first, second))
    # The root of the product: of two equal rows it is exactly their sum of squares.
    norm = (a.square().sum(1) * b.square().sum(1)).sqrt()
    found = ((a * b).sum(1) / norm).clamp(-1, 1)
    return torch.where(constant | other, (constant & other).to(found), found)


def _in_unit_range(heatmap: Tensor) -> Tensor:
    low, high = heatmap.amin((1, 2), keepdim=True), heatmap.amax((1, 2), keepdim=True)
    return (heatmap - low) / torch.where(high > low, high - low, 1)
