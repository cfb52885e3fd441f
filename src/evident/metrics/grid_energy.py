"""Artefacts: grid patterns in a heatmap that come from the strides of the network, not from the image."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation, metric

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


@metric(direction="lower")
def grid_energy(explanation: Explanation, stride: int = 16) -> Tensor:
    """Compute the share of a heatmap's energy that peaks at the frequencies of a grid: 0 no grid, 1 only a grid.

    Strided layers leave patterns with periods of stride / n, n = 1, 2, ... pixels. P is the power spectrum of a window
    of 2 stride x 2 stride pixels without its mean, summed over the windows at every stride-th pixel. The frequencies g
    of the grid are those whose coordinates are both even:

        E(g) = max(P(g) - max_d (P(g - d) + P(g + d)) / 2, 0)      d one step across, down or along a diagonal
        score = sum_g E(g) / sum P                                 (N,), in float64, in [0, 1]

    Edges and the borders of windows spread energy along a line, so a peak counts only if it exceeds its neighbours on
    every line through it. Windows are used because a grid may cover only a part of the map. Because windows are short,
    patterns of other periods score up to 0.3, and a texture of the image with the period of the grid counts in full:
    compare heatmaps of the same images only. `stride` is the network's total stride; it is halved until the map is two
    strides long. NaN for a constant map and for non-finite values. Raises `UserError` for a stride below 2 and for maps
    smaller than 4 x 4.
    Source: ours; artefacts as peaks of the spectrum: Zhang, Karaman, Chang 2019, arXiv 1907.06515.
    """
    if stride < 2:
        raise UserError(f"stride={stride} must be 2 or more; use the network's total stride")
    heatmap = explanation.heatmap.detach().double()
    if min(heatmap.shape[1:]) < 4:
        raise UserError(f"maps of {tuple(heatmap.shape[1:])} pixels are too small for a grid; use 4 x 4 or more")
    while 2 * stride > min(heatmap.shape[1:]):
        stride //= 2
    windows = heatmap.unfold(1, 2 * stride, stride).unfold(2, 2 * stride, stride)
    # We subtract a pixel instead of the mean: then a constant map has exactly zero energy, without rounding errors.
    power = torch.fft.fft2(windows - windows[..., :1, :1]).abs().square().sum((1, 2))
    power[:, 0, 0] = 0

    def at_grid(down: int, across: int) -> Tensor:
        return power.roll((down, across), (1, 2))[:, ::2, ::2]

    neighbours = torch.stack([(at_grid(y, x) + at_grid(-y, -x)) / 2 for y, x in _DIRECTIONS]).amax(0)
    return (at_grid(0, 0) - neighbours).clamp(min=0).sum((1, 2)) / power.sum((1, 2))
