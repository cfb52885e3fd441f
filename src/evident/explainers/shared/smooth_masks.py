r"""Smooth masks of extremal perturbations, computed from a coarse mask v by a soft maximum around every place u.

    m(u) = smax_i k(|u - u_i| / sigma) v_i,    smax z = sum_i z_i exp(T z_i) / sum_i exp(T z_i),    T = 20
    k(d) = exp(-2 max(d - 1/2, 0)^2)

u_i is the centre of cell i. m extends beyond the image by a margin, so that cells at its border do not weigh less; v is
zero there. `PixelMasks` evaluates m at every pixel, as in the authors' code. `CellMasks` evaluates m at the centres of
the cells and interpolates, with a ninth of the terms at 112 pixels and a thirtieth at 224.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

COLDNESS, CELLS, SIGMA = 20.0, 32, 3  # sigma in cells


class Masks(Protocol):
    """Turn coarse masks into masks of an image."""

    shape: tuple[int, int]

    def smooth(self, coarse: Tensor) -> Tensor:
        """Return m with its margin (B, 1, h', w') in [0, 1] from v (B, 1, *shape)."""

    def on_image(self, smooth: Tensor) -> Tensor:
        """Return the part of m (B, 1, H, W) that covers the image."""

    def ones(self, area: float) -> int:
        """Return how many values of m should be one."""


def kernel(distance: Tensor) -> Tensor:
    """Return k of distances in units of sigma."""
    return torch.exp(-2 * (distance - 0.5).clamp(min=0).square())


def soft_maximum(products: Tensor) -> Tensor:
    """Return smax over the second dimension, which is kept with size one."""
    return ((COLDNESS * products).softmax(1) * products).sum(1, keepdim=True)


class CellMasks:
    """Evaluate m at the cells, CELLS along the shorter side, and interpolate bilinearly between them.

    A soft maximum reaches 5/3 sigma, beyond which a cell has less than a thousandth of its weight. An area is a share
    of the image; the margin of sigma adds nothing to it.
    """

    def __init__(self, images: Tensor) -> None:
        self._size = images.shape[-2:]
        height, width = (max(1, round(side * CELLS / min(self._size))) for side in self._size)
        self.shape = height, width
        self._radius = math.ceil(5 / 3 * SIGMA)
        along = torch.arange(-self._radius, self._radius + 1, device=images.device).square()
        self._weights = kernel((along[:, None] + along).to(images).sqrt() / SIGMA)

    def smooth(self, coarse: Tensor) -> Tensor:
        padded = F.pad(coarse, [SIGMA + self._radius] * 4)
        products = F.unfold(padded, self._weights.shape) * self._weights.reshape(1, -1, 1)
        return soft_maximum(products).view(len(coarse), 1, *(side + 2 * SIGMA for side in coarse.shape[-2:]))

    def on_image(self, smooth: Tensor) -> Tensor:
        inner = smooth[..., SIGMA:-SIGMA, SIGMA:-SIGMA]
        return F.interpolate(inner, self._size, mode="bilinear", align_corners=False)

    def ones(self, area: float) -> int:
        return math.ceil(area * math.prod(self.shape))


class PixelMasks:
    """Evaluate m at every pixel, as TorchRay does at 224 pixels with cells of 7 and sigma = 21 pixels.

    Cells are a whole number of pixels. The first one is at the first pixel of the image; the soft maximum of a pixel
    reaches SIGMA + 1 cells to each side of its own. The margin is sigma before the image, and what the cells allow
    behind it. An area is a share of the mask with its margin.
    """

    def __init__(self, images: Tensor) -> None:
        self._size = images.shape[-2:]
        self.cell = max(1, round(min(self._size) / CELLS))
        self.sigma = SIGMA * self.cell
        height, width = (-(-side // self.cell) for side in self._size)
        self.shape = height, width
        # A pixel of cell c, counted from the margin, sees the cells c - SIGMA - RADIUS to c - SIGMA + RADIUS.
        self._radius = SIGMA + 1
        sides = [self.cell * (count + 2 * SIGMA - 1) + 1 for count in self.shape]
        self._own = [torch.arange(side, device=images.device) // self.cell for side in sides]
        distances = []
        for side, own in zip(sides, self._own, strict=True):
            seen = own[:, None] - SIGMA + torch.arange(-self._radius, self._radius + 1, device=images.device)
            at = torch.arange(side, device=images.device)[:, None]
            distances.append((at - (self.sigma + self.cell * seen)).to(images).square().T)
        rows, columns = distances
        squares = rows[:, None, :, None] + columns[None, :, None, :]
        self._weights = kernel(squares.sqrt() / self.sigma).flatten(0, 1)

    def smooth(self, coarse: Tensor) -> Tensor:
        window = 2 * self._radius + 1
        seen = F.unfold(coarse, window, padding=SIGMA + self._radius)
        cells = [count + 2 * SIGMA for count in self.shape]
        rows, columns = self._own
        of_pixels = seen.view(len(coarse), -1, *cells)[:, :, rows[:, None], columns]
        return soft_maximum(self._weights * of_pixels)

    def on_image(self, smooth: Tensor) -> Tensor:
        height, width = self._size
        return smooth[..., self.sigma : self.sigma + height, self.sigma : self.sigma + width]

    def ones(self, area: float) -> int:
        values = math.prod(len(own) for own in self._own)
        return values - int(values * (1 - area))
