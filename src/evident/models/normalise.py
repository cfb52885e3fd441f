"""Normalisation, the first module of every network: from pixels in [0, 1] to the units of the network."""

import torch
from torch import Tensor, nn

from evident.errors import UserError


class Normalise(nn.Module):
    """Compute (image - mean) / std per colour channel, for images (N, 3, H, W) in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = (0.5, 0.5, 0.5), std: tuple[float, ...] = (0.25, 0.25, 0.25)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def measure(self, images: Tensor) -> None:
        """Set mean and standard deviation to those of uint8 training images (N, C, H, W)."""
        # A histogram per channel is exact, and needs no float copy of the training set.
        levels = torch.arange(256, dtype=torch.float64)
        for channel in range(3):
            pixels = images[:, channel % images.shape[1]].flatten()
            share = torch.bincount(pixels, minlength=256).double() / pixels.numel()
            mean = (share * levels).sum()
            self.mean[0, channel] = mean / 255
            self.std[0, channel] = (share * (levels - mean) ** 2).sum().sqrt().clamp(min=1) / 255


class NeutralColour(Normalise):
    """State the neutral colour of a network that normalises its images on its own: they pass unchanged."""

    def __init__(self, colour: tuple[float, ...]) -> None:
        super().__init__(mean=colour)

    def forward(self, images: Tensor) -> Tensor:
        return images


def normalisation(model: nn.Module) -> Normalise:
    """Return the `Normalise` module of `model`; raise `UserError` if it has none."""
    for module in model.modules():
        if isinstance(module, Normalise):
            return module
    raise UserError(
        f"{type(model).__name__} has no Normalise module, so its mean colour is unknown; "
        "make evident.models.normalise.Normalise its first module, or give model.own.mean and std, or "
        "model.own.reference"
    )


def mean_colour(model: nn.Module) -> Tensor:
    """Return the neutral reference (1, 3, 1, 1) in [0, 1]: the colour that the network normalises to zero.

    Raises `UserError` if the network has no `Normalise` module.
    """
    return normalisation(model).mean
