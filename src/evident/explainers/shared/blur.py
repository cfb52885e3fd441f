"""Gaussian blur as two one-dimensional convolutions, whose cost grows with the kernel's length instead of its area."""

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
            size = [2 * radius + 1, 1] if axis == 3 else [1, 2 * radius + 1]
            images = gaussian_blur(images, size, [sigma, sigma])
    return images
