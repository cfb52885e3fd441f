"""Reference images of perturbation methods: images without evidence, in pixels."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from evident.errors import UserError
from evident.models.normalise import mean_colour

Reference = Literal["mean_colour", "blur"]


def reference_images(images: Tensor, model: nn.Module, kind: Reference = "mean_colour") -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] without evidence: the mean colour or a Gaussian blur of each image.

    The sigma of the blur is a tenth of the longer side. Raises `UserError` for an unknown kind.
    """
    if kind == "mean_colour":
        return mean_colour(model).to(images).expand_as(images)
    if kind == "blur":
        return _blurred(images)
    raise UserError(f"reference={kind!r} is unknown; use mean_colour or blur")


_last: list[Tensor] = []  # the images that were blurred last, and their blur


def _blurred(images: Tensor) -> Tensor:
    """Return the blur and keep it: a sweep scores the same images in many cells, and the wide kernel takes seconds."""
    like = (images.dtype, images.device)
    if not (_last and (_last[0].dtype, _last[0].device) == like and torch.equal(_last[0], images)):
        with torch.inference_mode(False), torch.no_grad():  # what is kept may be part of any later computation
            shown = images.clone()
            sigma = max(images.shape[-2:]) / 10
            # Torchvision pads by reflection, which needs a kernel below twice the shorter side.
            radius = min(int(3 * sigma), min(images.shape[-2:]) - 1)
            blurred = gaussian_blur(shown, [2 * radius + 1] * 2, [sigma] * 2) if radius else shown
            _last[:] = shown, blurred
    return _last[1]
