"""What an image looks like without its evidence: the references of perturbation, in pixels."""

from typing import Literal

from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from evident.errors import UserError
from evident.models.normalise import mean_colour

Reference = Literal["mean_colour", "blur"]


def reference_images(images: Tensor, model: nn.Module, kind: Reference = "mean_colour") -> Tensor:
    """Images (N, 3, H, W) in [0, 1] without evidence: mean colour, or a Gaussian blur.

    The blur's sigma is a tenth of the longer side. Raises `UserError` for another kind.
    """
    if kind == "mean_colour":
        return mean_colour(model).to(images).expand_as(images)
    if kind == "blur":
        sigma = max(images.shape[-2:]) / 10
        # Reflection, which torchvision pads with, needs a kernel below twice the shorter side.
        radius = min(int(3 * sigma), min(images.shape[-2:]) - 1)
        return gaussian_blur(images, [2 * radius + 1] * 2, [sigma] * 2) if radius else images
    raise UserError(f"reference={kind!r} is unknown; use mean_colour or blur")
