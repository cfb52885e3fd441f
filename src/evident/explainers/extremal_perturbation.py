r"""Extremal perturbations: for each area, the part of the image with the highest class score.

R. Fong, M. Patrick, A. Vedaldi: *Understanding deep networks via extremal perturbations and smooth masks*, ICCV 2019,
arXiv 1910.08485. With S the class score and a the share of the image that the mask keeps:

    max_m  S(m (x) x) - lambda R_a(m),     R_a(m) = || vecsort(m) - r_a ||^2 / |m|

vecsort sorts the mask's values; r_a consists of (1 - a) zeros followed by a ones. lambda grows at every step, which
fixes the area and makes the mask binary. m (x) x blurs each pixel with sigma = (1 - m) sigma_max, by linear
interpolation in a pyramid of `LEVELS` blurs. The mask m is smooth because it is computed from a coarse mask v by a
convolution with a soft maximum in place of the sum:

    m(u) = smax_v k(u - v) v,     smax z = sum_i z_i exp(T z_i) / sum_i exp(T z_i)
    k(u) = exp(-2 max(|u| / sigma - 1/2, 0)^2)

The masks are those of `smooth_masks`, T = 20. lambda = 300, which grows by a factor of 1.0035 per step, and 800 steps
of 0.01 by gradient descent with momentum follow the authors' code (TorchRay), at 224 pixels. Every second step uses the
mirrored image (`flip`). The attribution is the mean of the masks over `areas`, which is, up to a factor, the sum that
the authors use in the pointing game.

`published` is TorchRay's formula, compared with it step by step in the tests; its lengths scale with the image here.
Ours, the default, differs in five places:

- m is evaluated at the cells and interpolated, not at every pixel (`CellMasks`, `PixelMasks`). The search takes
  about a tenth of the time for flowers.
- a is a share of the image, not of the mask with its margin, which is a third larger.
- A value of lambda suits the scores of one network only. We divide S by the drop of the score when the whole image is
  blurred, and multiply it by `SPAN`. With 15 steps on 16 validation flowers, average precision is 0.70 so, 0.65 with S
  itself, and 0.38 for the published formula as a whole, which was not compared at its own 800 steps.
- The first step uses the score alone. At the start all cells are one, so their order is arbitrary, and would persist.
- Blurs continue the image by its mirror image, not by the mean colour, which draws an edge around the image.

With fewer than 800 steps, the step size and the growth of lambda increase by the same factor, at most `FASTEST`; `pace`
sets another factor.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.blur import blurred
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.smooth_masks import CellMasks, Masks, PixelMasks
from evident.explainers.shared.targets import target_scores, targets
from evident.models.reference_images import reference_images
from evident.models.untouched import untouched

LEVELS = 8
MOMENTUM, WEIGHT = 0.9, 300.0
STEPS, STEP, GROWTH, FASTEST = 800, 0.01, 1.0035, 20
SPAN = 25.0  # about the drop of SqueezeNet's scores on photographs


class Step(NamedTuple):
    """Hold the masks (N A, 1, H, W) of one step, their class scores and lambda R_a (N A,)."""

    masks: Tensor
    scores: Tensor
    penalties: Tensor


def pyramid(images: Tensor, sigma: float, beyond: Tensor | None = None) -> Tensor:
    """Return blurs (N, LEVELS, 3, H, W) of images (N, 3, H, W), from `sigma` pixels down to no blur.

    Beyond its border an image is its own mirror image, or has the colours `beyond` (N or 1, 3, 1, 1).
    """
    sigmas = [sigma * (1 - level / (LEVELS - 1)) for level in range(LEVELS)]
    if beyond is None:
        return torch.stack([blurred(images, each) for each in sigmas], 1)
    return torch.stack([beyond + _zero_padded(images - beyond, each) for each in sigmas], 1)


def _zero_padded(images: Tensor, sigma: float) -> Tensor:
    """Return images blurred by a Gaussian that is cut at four sigma, zero beyond their border."""
    if sigma == 0:
        return images
    radius = math.ceil(4 * sigma)
    along = torch.arange(-radius, radius + 1, device=images.device).to(images)
    weights = torch.softmax(-(along**2) / (2 * sigma**2), 0)
    single = images.flatten(0, 1)[:, None]
    rows = F.conv2d(single, weights.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(rows, weights.view(1, 1, 1, -1), padding=(0, radius)).view_as(images)


def perturbed(levels: Tensor, masks: Tensor) -> Tensor:
    """Return m (x) x (N, A, 3, H, W) of pyramids (N, LEVELS, 3, H, W) and masks (N, A, 1, H, W)."""
    level = masks * (LEVELS - 1)
    # There is no level above the last one: a mask value of one reads the end of the last interval.
    below = level.detach().floor().clamp(0, LEVELS - 2)
    index = below.long().expand(-1, -1, levels.shape[2], -1, -1)
    return torch.lerp(levels.gather(1, index), levels.gather(1, index + 1), level - below)


def area_penalty(masks: Tensor, ones: Tensor) -> Tensor:
    """Return R_a (N, A) of masks (N, A, 1, h, w): the ones[a] largest values should be one, all others zero."""
    ordered = masks.flatten(2).sort(dim=2, stable=True).values
    wanted = torch.arange(ordered.shape[2], device=masks.device) >= ordered.shape[2] - ones[:, None]
    return (ordered - wanted.to(ordered)).square().mean(2)


class ExtremalPerturbation(Attribution):
    """Compute the mean over `areas` of the masks with the highest class score (N, 1, H, W) in [0, 1].

    `areas` are shares of the image; `blur` is sigma_max as a share of the shorter side. `batch_size` counts pairs of
    image and area. Raises `UserError` for steps below 1, for no areas and for areas outside (0, 1).
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        areas: Sequence[float] = (0.025, 0.05, 0.1, 0.2),
        steps: int = STEPS,
        blur: float = 20 / 224,
        flip: bool = True,
        batch_size: int = 32,
        published: bool = False,
        pace: float | None = None,
    ) -> None:
        if steps < 1 or not areas or not all(0 < area < 1 for area in areas):
            given = ", ".join(map(str, areas))
            raise UserError(f"steps={steps}, areas=[{given}]: use one step or more, and areas between 0 and 1")
        super().__init__(model)
        self.model, self.areas, self.steps = model, tuple(areas), steps
        self.blur, self.flip, self.batch_size = blur, flip, batch_size
        self.published, self.pace = published, pace

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return self.masks(inputs, target).mean(1, keepdim=True)

    def masks(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the mask of each area (N, A, H, W) in [0, 1], of the last step."""
        at_once = max(1, self.batch_size // len(self.areas))
        with untouched(self.model, inputs):
            images = inputs.detach().clone().split(at_once)
            classes = targets(target, len(inputs)).to(inputs.device).split(at_once)
            found = [self._last(*part).masks for part in zip(images, classes, strict=True)]
        return torch.cat(found)[:, 0].unflatten(0, (-1, len(self.areas)))

    def _last(self, images: Tensor, classes: Tensor) -> Step:
        for step in self.search(images, classes):
            last = step
        return last

    def search(self, images: Tensor, classes: Tensor, start: Tensor | None = None) -> Iterator[Step]:
        """Yield each step of the search for images (N, 3, H, W) and classes (N,); call it within `untouched(model)`.

        The coarse masks start from `start` (N A, 1, h, w), by default from one everywhere.
        """
        count = len(self.areas)
        faster = min(STEPS / self.steps, FASTEST) if self.pace is None else self.pace
        masks: Masks = PixelMasks(images) if self.published else CellMasks(images)
        levels = self._levels(images)
        ones = torch.tensor([masks.ones(area) for area in self.areas], device=images.device)
        coarse = images.new_ones(len(images) * count, 1, *masks.shape) if start is None else start.clone()
        coarse.requires_grad_()
        sgd = torch.optim.SGD([coarse], STEP * faster, MOMENTUM, dampening=MOMENTUM)
        units = self._units(images, levels[:, 0], classes).repeat_interleave(count)
        classes = classes.repeat_interleave(count)
        for step in range(self.steps):
            smooth = masks.smooth(coarse)
            on_image = masks.on_image(smooth)
            visible = perturbed(levels, on_image.unflatten(0, (-1, count))).flatten(0, 1)
            if self.flip and step % 2 == 0:
                visible = visible.flip(3)
            scores = target_scores(self.model(visible), classes)
            penalties = area_penalty(smooth.unflatten(0, (-1, count)), ones).flatten()
            penalties = WEIGHT * GROWTH ** (faster * step) * penalties
            energy = (units * scores).sum()
            if self.published or step > 0:
                energy = energy - penalties.sum()
            (coarse.grad,) = torch.autograd.grad(-energy, coarse)
            yield Step(on_image.detach(), scores.detach(), penalties.detach())
            sgd.step()
            coarse.data.clamp_(0, 1)

    def _levels(self, images: Tensor) -> Tensor:
        beyond = reference_images(images, self.model)[:, :, :1, :1] if self.published else None
        return pyramid(images, self.blur * min(images.shape[-2:]), beyond)

    @torch.no_grad()
    def _units(self, images: Tensor, blurs: Tensor, classes: Tensor) -> Tensor:
        """Return the factor (N,) that multiplies the score of each image."""
        if self.published:
            return images.new_ones(len(images))
        drop = target_scores(self.model(images), classes) - target_scores(self.model(blurs), classes)
        return SPAN / drop.clamp(min=1)
