"""Regions of pixels that a metric removes as a whole: squares of a grid, or super-pixels.

Single pixels that are removed here and there disturb a network like noise, so a heatmap of scattered pixels can lower
the score without finding any evidence. Regions that are removed as a whole prevent that.
"""

from typing import Literal

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.super_pixels import super_pixels

Regions = Literal["pixels", "squares", "super_pixels"]


def squares(height: int, width: int, side: int) -> Tensor:
    """Return the square (H, W) int64 that each pixel belongs to: of a grid of `side` x `side` pixels, row by row.

    The last squares of a row and of a column are cut off by the border. Raises `UserError` for a side below 1.
    """
    if side < 1:
        raise UserError(f"side={side} must be 1 pixel or more")
    columns = -(-width // side)
    return (torch.arange(height) // side)[:, None] * columns + torch.arange(width) // side


def region_labels(images: Tensor, regions: Regions, side: int, segments: int) -> Tensor:
    """Return the region (N, HW) int64 that each pixel of images (N, 3, H, W) belongs to, numbered from 0.

    `side` is for squares, in pixels. `segments` is for super-pixels: about as many are found by SLIC in each image, on
    the CPU. Raises `UserError` for unknown regions, and for a side or number of segments below 1.
    """
    height, width = images.shape[-2:]
    if regions == "pixels":
        labels = torch.arange(height * width)[None]
    elif regions == "squares":
        labels = squares(height, width, side).flatten()[None]
    elif regions != "super_pixels":
        raise UserError(f"regions={regions!r} is unknown; use pixels, squares or super_pixels")
    elif segments < 1:
        raise UserError(f"segments={segments} must be 1 or more")
    else:
        labels = torch.stack([super_pixels(image, segments).flatten() for image in images])
    return labels.to(images.device).expand(len(images), -1)


def region_sums(values: Tensor, labels: Tensor) -> Tensor:
    """Return the sum (N, HW) float64 of `values` (N, HW) over each region of `labels` (N, HW).

    Column j is region j. There are as many columns as pixels, for any number of regions; the columns without a region
    are 0.
    """
    values = values.double()
    return torch.zeros_like(values).scatter_add_(1, labels, values)
