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

|u| is in cells of the coarse mask, 32 along the shorter side. The mask extends sigma = 3 cells beyond the image, so
that cells at the border do not weigh less; a is a share of the image without this margin. T = 20, lambda = 300, which
grows by a factor of 1.0035 per step, and 800 steps of 0.01 by gradient descent with momentum follow the authors' code,
at 224 pixels. Our choices:

- A value of lambda suits the scores of one network only. We divide S by the drop of the score when the whole image is
  blurred, and multiply it by `SPAN`.
- m is evaluated at the cells and interpolated bilinearly between them.
- The first step uses the score alone. At the start all cells are one, so their order is arbitrary, and would persist.
- With fewer than 800 steps, the step size and the growth of lambda increase by the same factor, at most `FASTEST`.

Every second step uses the mirrored image (`flip`). The attribution is the mean of the masks over `areas`, which is, up
to a factor, the sum that the authors use in the pointing game.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.blur import blurred
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.targets import target_scores, targets
from evident.models.untouched import untouched

LEVELS = 8
CELLS, SIGMA, MARGIN, COLDNESS = 32, 3.0, 3, 20.0
MOMENTUM, WEIGHT = 0.9, 300.0
STEPS, STEP, GROWTH, FASTEST = 800, 0.01, 1.0035, 20
SPAN = 25.0  # about the drop of SqueezeNet's scores on photographs


def smoothing_kernel(like: Tensor) -> Tensor:
    """Return k (K, K), with the device and data type of `like`."""
    # Beyond 5/3 sigma, the weight of a cell in the soft maximum is below a thousandth.
    radius = math.ceil(5 / 3 * SIGMA)
    along = torch.arange(-radius, radius + 1, device=like.device).square()
    distance = (along[:, None] + along).to(like).sqrt()
    return torch.exp(-2 * (distance / SIGMA - 0.5).clamp(min=0).square())


def smooth_mask(coarse: Tensor, kernel: Tensor) -> Tensor:
    """Return m (B, 1, h + 2 MARGIN, w + 2 MARGIN) in [0, 1] from v (B, 1, h, w), zero beyond its border, and k."""
    padded = F.pad(coarse, [MARGIN + len(kernel) // 2] * 4)
    products = F.unfold(padded, kernel.shape) * kernel.reshape(1, -1, 1)
    soft = ((COLDNESS * products).softmax(1) * products).sum(1)
    return soft.view(len(coarse), 1, *(side + 2 * MARGIN for side in coarse.shape[-2:]))


def pyramid(images: Tensor, sigma: float) -> Tensor:
    """Return blurs (N, LEVELS, 3, H, W) of images (N, 3, H, W), from `sigma` pixels down to no blur."""
    return torch.stack([blurred(images, sigma * (1 - level / (LEVELS - 1))) for level in range(LEVELS)], 1)


def perturbed(levels: Tensor, masks: Tensor) -> Tensor:
    """Return m (x) x (N, A, 3, H, W) of pyramids (N, LEVELS, 3, H, W) and masks (N, A, 1, H, W)."""
    level = masks * (LEVELS - 1)
    # There is no level above the last one: a mask value of one reads the end of the last interval.
    below = level.detach().floor().clamp(0, LEVELS - 2)
    index = below.long().expand(-1, -1, levels.shape[2], -1, -1)
    return torch.lerp(levels.gather(1, index), levels.gather(1, index + 1), level - below)


def area_penalty(masks: Tensor, cells: Tensor) -> Tensor:
    """Return R_a (N, A) of masks (N, A, 1, h, w): the cells[a] largest values should be one, all others zero."""
    ordered = masks.flatten(2).sort(dim=2, descending=True, stable=True).values
    wanted = torch.arange(ordered.shape[2], device=masks.device) < cells[:, None]
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
    ) -> None:
        if steps < 1 or not areas or not all(0 < area < 1 for area in areas):
            given = ", ".join(map(str, areas))
            raise UserError(f"steps={steps}, areas=[{given}]: use one step or more, and areas between 0 and 1")
        super().__init__(model)
        self.model, self.areas, self.steps = model, tuple(areas), steps
        self.blur, self.flip, self.batch_size = blur, flip, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return self.masks(inputs, target).mean(1, keepdim=True)

    def masks(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the mask of each area (N, A, H, W) in [0, 1]."""
        at_once = max(1, self.batch_size // len(self.areas))
        with untouched(self.model):
            images = inputs.detach().clone().split(at_once)
            classes = targets(target, len(inputs)).to(inputs.device).split(at_once)
            return torch.cat([self._optimised(*part) for part in zip(images, classes, strict=True)])

    def _optimised(self, images: Tensor, classes: Tensor) -> Tensor:
        size = images.shape[-2:]
        shorter, count = min(size), len(self.areas)
        faster = min(STEPS / self.steps, FASTEST)
        levels, kernel = pyramid(images, self.blur * shorter), smoothing_kernel(images)
        height, width = (max(1, round(side * CELLS / shorter)) for side in size)
        areas = torch.tensor([math.ceil(area * height * width) for area in self.areas], device=images.device)
        coarse = images.new_ones(len(images) * count, 1, height, width).requires_grad_()
        sgd = torch.optim.SGD([coarse], STEP * faster, MOMENTUM, dampening=MOMENTUM)
        classes = classes.repeat_interleave(count)
        units = self._units(images, levels[:, 0], classes[::count]).repeat_interleave(count)
        for step in range(self.steps):
            mask = smooth_mask(coarse, kernel)
            visible = perturbed(levels, _upsampled(mask, size).unflatten(0, (-1, count))).flatten(0, 1)
            if self.flip and step % 2 == 0:
                visible = visible.flip(3)
            score = units * target_scores(self.model(visible), classes)
            energy = -score.sum()
            if step > 0:
                penalty = area_penalty(mask.unflatten(0, (-1, count)), areas)
                energy += WEIGHT * GROWTH ** (faster * step) * penalty.sum()
            (coarse.grad,) = torch.autograd.grad(energy, coarse)
            sgd.step()
            coarse.data.clamp_(0, 1)
        return _upsampled(smooth_mask(coarse.detach(), kernel), size)[:, 0].unflatten(0, (-1, count))

    @torch.no_grad()
    def _units(self, images: Tensor, blurs: Tensor, classes: Tensor) -> Tensor:
        """Return the factor (N,) that multiplies the score of each image."""
        drop = target_scores(self.model(images), classes) - target_scores(self.model(blurs), classes)
        return SPAN / drop.clamp(min=1)


def _upsampled(mask: Tensor, size: torch.Size) -> Tensor:
    """Return a mask without its margin, up-sampled bilinearly to the size of the image."""
    inner = mask[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    return F.interpolate(inner, size, mode="bilinear", align_corners=False)
