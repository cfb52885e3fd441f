"""Traces that a network's strides leave in a heatmap, whatever is in the image."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation, metric

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


@metric(direction="lower")
def grid_energy(explanation: Explanation, stride: int = 16) -> Tensor:
    """Share of a heatmap's energy that stands out at the frequencies of a grid: 0 without one, 1 for nothing else.

    Strided layers leave patterns with periods of stride / n, n = 1, 2, ... pixels. With P the power spectrum of a
    window of 2 stride x 2 stride pixels without its mean, summed over the windows at every stride-th pixel, those
    are the frequencies g whose coordinates are both even:

        E(g) = max(P(g) - max_d (P(g - d) + P(g + d)) / 2, 0)      d one step across, down or along a diagonal
        score = sum_g E(g) / sum P                                 (N,), in float64, in [0, 1]

    Edges and the windows' own borders spread energy along a line, so no peak counts that does not stand out on every
    line through it. Windows, as a grid is as local as the heatmap that it is in; they are short, so that patterns of
    other periods score up to 0.3, and a texture of the image's with a grid's period counts in full: compare heatmaps
    of the same images. `stride` is the network's total stride; for maps that are no two strides long it is halved
    until they are. NaN where a map is constant or not finite. Raises `UserError` for a stride below 2, and for maps
    below 4 x 4.
    Source: ours; such artefacts as peaks of the spectrum: Zhang, Karaman, Chang 2019, arXiv 1907.06515.
    """
    if stride < 2:
        raise UserError(f"stride={stride} leaves no grid; use the network's total stride, 2 or more")
    heatmap = explanation.heatmap.detach().double()
    if min(heatmap.shape[1:]) < 4:
        raise UserError(f"maps of {tuple(heatmap.shape[1:])} pixels hold no grid; use 4 x 4 or more")
    while 2 * stride > min(heatmap.shape[1:]):
        stride //= 2
    windows = heatmap.unfold(1, 2 * stride, stride).unfold(2, 2 * stride, stride)
    # Less a pixel, not the mean: so a constant map has no energy at all, not even that of rounding.
    power = torch.fft.fft2(windows - windows[..., :1, :1]).abs().square().sum((1, 2))
    power[:, 0, 0] = 0

    def at_grid(down: int, across: int) -> Tensor:
        return power.roll((down, across), (1, 2))[:, ::2, ::2]

    beside = torch.stack([(at_grid(y, x) + at_grid(-y, -x)) / 2 for y, x in _DIRECTIONS]).amax(0)
    return (at_grid(0, 0) - beside).clamp(min=0).sum((1, 2)) / power.sum((1, 2))
