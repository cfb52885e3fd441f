"""The ground truth, corrupted in known steps: rows for which a metric must fall.

Noise is mixed with the ranks u of the pixels of the ground truth g, divided by their number, with ties in random order.
The values of g are then given to the pixels in their new order. So a mask stays a mask of the same size, and what falls
is the place, not the contrast. With the dose d in (0, 1]:

    pixel_noise     the order of (1 - d) u + d z       z: independent uniform numbers
    smooth_noise    the order of (1 - d) u + d z       z: ranks of a Gaussian field, smooth over `smooth` of the side
    shift           g moved by d / 2 of the side in a random direction, around the border
    dilation        the maximum of g over a disc with a radius of d / 2 of the side; a mask grows

At the dose 1 noise keeps nothing of the ground truth but its values.
"""

import math

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import NeedsMask
from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import targets
from evident.models.untouched import check_images

KINDS = ("pixel_noise", "smooth_noise", "shift", "dilation")


class CorruptedOracle(Attribution, NeedsMask):
    """Return the corrupted ground truth (N, 1, H, W): the mask, or the contribution map if known.

    `kind` and `dose` say how; `smooth` is the width of a smooth field, as a share of the shorter side. Draws depend on
    image and `seed`. Plain `attribute` raises `UserError`, because it has no ground truth; so do an unknown kind and a
    dose outside (0, 1].
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, kind: str, dose: float, smooth: float = 0.1, seed: int = 0) -> None:
        super().__init__(model)
        if kind not in KINDS:
            raise UserError(f"kind={kind!r} is unknown; use one of {', '.join(KINDS)}")
        if not 0 < dose <= 1:
            raise UserError(f"dose={dose} is not in (0, 1]")
        self.kind, self.dose, self.smooth, self.seed = kind, dose, smooth, seed

    def attribute_mask(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> Tensor:
        check_images(inputs)
        targets(target, len(inputs))
        corrupted = [self._corrupted(*pair) for pair in zip(inputs, mask.to(inputs), strict=True)]
        return torch.stack(corrupted)[:, None].to(inputs)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        raise UserError("a corrupted oracle needs masks; call attribute_mask, or leave it out where there are none")

    def _corrupted(self, image: Tensor, truth: Tensor) -> Tensor:
        """Return the corrupted ground truth (H, W) of one image (3, H, W)."""
        generator = image_generator(image, self.seed)
        noise = torch.rand(2, *truth.shape, generator=generator).to(truth)
        radius = self.dose * min(truth.shape) / 2
        if self.kind == "shift":
            angle = 2 * math.pi * float(torch.rand((), generator=generator))
            return truth.roll((round(radius * math.sin(angle)), round(radius * math.cos(angle))), (0, 1))
        if self.kind == "dilation":
            return _dilated(truth, round(radius))
        drawn = noise[1] if self.kind == "pixel_noise" else _rank_shares(self._field(noise[1]), noise[0])
        mixed = (1 - self.dose) * _rank_shares(truth, noise[0]) + self.dose * drawn
        placed = torch.empty_like(truth).flatten()
        placed[mixed.flatten().argsort()] = truth.flatten().sort().values
        return placed.view_as(truth)

    def _field(self, noise: Tensor) -> Tensor:
        """Return white noise (H, W) smoothed by a Gaussian around the border, by the Fourier transform."""
        sigma = self.smooth * min(noise.shape)
        down, across = (torch.fft.fftfreq(side, device=noise.device) for side in noise.shape)
        squared = down[:, None] ** 2 + across**2
        return torch.fft.ifft2(torch.fft.fft2(noise) * torch.exp(-2 * (math.pi * sigma) ** 2 * squared)).real


def _rank_shares(values: Tensor, ties: Tensor) -> Tensor:
    """Return the rank of each value (H, W) as a share in [0, 1); `ties` (H, W) orders equal values."""
    order = ties.flatten().argsort()
    order = order[values.flatten()[order].argsort(stable=True)]
    ranks = torch.empty_like(values.flatten())
    ranks[order] = torch.arange(len(order), device=values.device).to(values) / len(order)
    return ranks.view_as(values)


def _dilated(values: Tensor, radius: int) -> Tensor:
    """Return the maximum (H, W) over a disc, row by row of the disc."""
    height = len(values)
    padded = F.pad(values, (0, 0, radius, radius), value=-math.inf)
    found = torch.full_like(values, -math.inf)
    for down in range(-radius, radius + 1):
        reach = math.isqrt(radius**2 - down**2)
        row = padded[radius + down : radius + down + height]
        found = torch.maximum(found, F.max_pool1d(row[:, None], 2 * reach + 1, 1, reach)[:, 0])
    return found
