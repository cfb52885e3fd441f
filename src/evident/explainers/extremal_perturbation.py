r"""Extremal perturbations: for each size, the part of the image that excites the class most.

R. Fong, M. Patrick, A. Vedaldi: *Understanding deep networks via extremal perturbations and smooth masks*, ICCV 2019,
arXiv 1910.08485. With S the class score and a the share of the image that may be kept:

    max_m  S(m (x) x) - lambda R_a(m),     R_a(m) = || vecsort(m) - r_a ||^2 / |m|

vecsort orders the mask's values; r_a is (1 - a) zeros, then a ones. So lambda, which grows at
every step, fixes the area and makes the mask binary. In m (x) x each pixel is blurred the more, the less its mask keeps
it: sigma = (1 - m) sigma_max, read off a pyramid of `LEVELS` blurs and linear between them. Masks are smooth because
they are grown from a coarse one, v, by a convolution with a soft maximum in place of the sum:

    m(u) = smax_v k(u - v) v,     smax z = sum_i z_i exp(T z_i) / sum_i exp(T z_i)
    k(u) = exp(-2 max(|u| / sigma - 1/2, 0)^2)

|u| is in cells of the coarse mask, 32 along the shorter side. The mask reaches sigma = 3 cells beyond the image, lest
cells at the border weigh less; its area is counted in the image's. T = 20, lambda = 300, times 1.0035 a step, and the
800 steps of 0.01 by gradient descent with momentum are the authors' code's too, at 224 pixels. Our choices:

- lambda fits one network's scores. We measure S in units of what blurring the whole image takes from it, times `SPAN`.
- m is evaluated at the cells, and is bilinear between them.
- The first step is by the score alone: all cells being one, any order of theirs is an accident, which would last.
- With fewer than 800 steps, the steps and the growth of lambda are as much larger, up to `FASTEST` times.

Every second step sees the image mirrored (`flip`). The attribution is the masks' mean over `areas`: up to a factor the
sum that the authors play the pointing game with.
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
SPAN = 25.0  # about what it is of SqueezeNet's scores of photographs


def kernel(like: Tensor) -> Tensor:
    """k of the cells around one (K, K)."""
    # Beyond 5/3 sigma a cell's share in the soft maximum is below a thousandth.
    radius = math.ceil(5 / 3 * SIGMA)
    along = torch.arange(-radius, radius + 1, device=like.device).square()
    distance = (along[:, None] + along).to(like).sqrt()
    return torch.exp(-2 * (distance / SIGMA - 0.5).clamp(min=0).square())


def grown(coarse: Tensor, around: Tensor) -> Tensor:
    """m (B, 1, h + 2 MARGIN, w + 2 MARGIN) in [0, 1] from v (B, 1, h, w), zero beyond its border, and its `kernel`."""
    padded = F.pad(coarse, [MARGIN + len(around) // 2] * 4)
    products = F.unfold(padded, around.shape) * around.reshape(1, -1, 1)
    soft = ((COLDNESS * products).softmax(1) * products).sum(1)
    return soft.view(len(coarse), 1, *(side + 2 * MARGIN for side in coarse.shape[-2:]))


def pyramid(images: Tensor, sigma: float) -> Tensor:
    """(N, LEVELS, 3, H, W): from images blurred by `sigma` pixels to the images themselves."""
    return torch.stack([blurred(images, sigma * (1 - level / (LEVELS - 1))) for level in range(LEVELS)], 1)


def perturbed(levels: Tensor, masks: Tensor) -> Tensor:
    """m (x) x (N, A, 3, H, W) of pyramids (N, LEVELS, 3, H, W) and masks (N, A, 1, H, W)."""
    place = masks * (LEVELS - 1)
    # The last level has none above it: there the mask reads the end of the last interval.
    below = place.detach().floor().clamp(0, LEVELS - 2)
    index = below.long().expand(-1, -1, levels.shape[2], -1, -1)
    return torch.lerp(levels.gather(1, index), levels.gather(1, index + 1), place - below)


def area_penalty(masks: Tensor, cells: Tensor) -> Tensor:
    """R_a (N, A) of masks (N, A, 1, h, w), of which the cells[a] largest values are to be one, the others zero."""
    ordered = masks.flatten(2).sort(dim=2, descending=True, stable=True).values
    wanted = torch.arange(ordered.shape[2], device=masks.device) < cells[:, None]
    return (ordered - wanted.to(ordered)).square().mean(2)


class ExtremalPerturbation(Attribution):
    """The mean over `areas` of the masks that keep the class best (N, 1, H, W) in [0, 1].

    `areas` are shares of the image; `blur` is sigma_max as a share of the shorter side. `batch_size` counts pairs of
    image and area. Raises `UserError` unless there is a step and every area is between 0 and 1.
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
        """The mask of each area (N, A, H, W) in [0, 1]."""
        at_once = max(1, self.batch_size // len(self.areas))
        with untouched(self.model):
            images = inputs.detach().clone().split(at_once)
            classes = targets(target, len(inputs)).to(inputs.device).split(at_once)
            return torch.cat([self._optimised(*part) for part in zip(images, classes, strict=True)])

    def _optimised(self, images: Tensor, classes: Tensor) -> Tensor:
        size = images.shape[-2:]
        shorter, count = min(size), len(self.areas)
        faster = min(STEPS / self.steps, FASTEST)
        levels, around = pyramid(images, self.blur * shorter), kernel(images)
        height, width = (max(1, round(side * CELLS / shorter)) for side in size)
        areas = torch.tensor([math.ceil(area * height * width) for area in self.areas], device=images.device)
        coarse = images.new_ones(len(images) * count, 1, height, width).requires_grad_()
        sgd = torch.optim.SGD([coarse], STEP * faster, MOMENTUM, dampening=MOMENTUM)
        classes = classes.repeat_interleave(count)
        units = self._units(images, levels[:, 0], classes[::count]).repeat_interleave(count)
        for step in range(self.steps):
            mask = grown(coarse, around)
            seen = perturbed(levels, _fitted(mask, size).unflatten(0, (-1, count))).flatten(0, 1)
            if self.flip and step % 2 == 0:
                seen = seen.flip(3)
            score = units * target_scores(self.model(seen), classes)
            energy = -score.sum()
            if step > 0:
                penalty = area_penalty(mask.unflatten(0, (-1, count)), areas)
                energy += WEIGHT * GROWTH ** (faster * step) * penalty.sum()
            (coarse.grad,) = torch.autograd.grad(energy, coarse)
            sgd.step()
            coarse.data.clamp_(0, 1)
        return _fitted(grown(coarse.detach(), around), size)[:, 0].unflatten(0, (-1, count))

    @torch.no_grad()
    def _units(self, images: Tensor, unseen: Tensor, classes: Tensor) -> Tensor:
        """The factor (N,) by which the score of each image is multiplied."""
        lost = target_scores(self.model(images), classes) - target_scores(self.model(unseen), classes)
        return SPAN / lost.clamp(min=1)


def _fitted(mask: Tensor, size: torch.Size) -> Tensor:
    """A mask without its margin at the size of the image, bilinearly."""
    inner = mask[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    return F.interpolate(inner, size, mode="bilinear", align_corners=False)
