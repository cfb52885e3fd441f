"""Gaussian blur, along one axis after the other: as many taps as the kernel is long, not as it is large."""

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian of `sigma` pixels, mirrored at the border; as they are for sigma 0."""
    for axis in (2, 3):
        # Three sigma; mirrors, which torchvision pads with, need a kernel below twice the side.
        radius = min(round(3 * sigma), images.shape[axis] - 1)
        if sigma > 0 and radius > 0:
            size = [2 * radius + 1, 1] if axis == 3 else [1, 2 * radius + 1]
            images = gaussian_blur(images, size, [sigma, sigma])
    return images
