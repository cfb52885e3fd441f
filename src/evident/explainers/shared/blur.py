"""Gaussian blur as two one-dimensional convolutions, whose cost grows with the kernel's length instead of its area."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return images (N, C, H, W) blurred by a Gaussian of `sigma` pixels, mirrored at the border.

    `sigma=0` returns the images unchanged.
    """
    for axis in (2, 3):
        # The kernel reaches three sigma to each side. torchvision's reflection
        # padding needs a kernel shorter than twice the side.
        radius = min(round(3 * sigma), images.shape[axis] - 1)
        if sigma > 0 and radius > 0:
            if images.requires_grad and not images.is_cpu:
                images = blurred_lines(images, sigma, radius, axis)
            else:
                size = [2 * radius + 1, 1] if axis == 3 else [1, 2 * radius + 1]
                images = gaussian_blur(images, size, [sigma, sigma])
    return images


def blurred_lines(images: Tensor, sigma: float, radius: int, axis: int) -> Tensor:
    """Return images (N, C, H, W) blurred along axis 2 or 3, as torchvision does, with a gradient that repeats on a GPU.

    That of torch's reflection padding has no deterministic algorithm there; that of selected lines has one.
    """
    side, kernel = images.shape[axis], [1, 1, 1, 1]
    at = torch.arange(-radius, side + radius, device=images.device).abs()
    mirrored = images.index_select(axis, side - 1 - (side - 1 - at).abs())
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=images.dtype) / sigma).square())
    kernel[axis] = -1
    return F.conv2d(mirrored.flatten(0, 1)[:, None], (weights / weights.sum()).to(images.device).view(kernel)).view_as(
        images
    )
