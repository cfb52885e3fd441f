r"""Meaningful perturbation: the smallest region whose blurring suppresses the class.

R. C. Fong, A. Vedaldi: *Interpretable explanations of black boxes by meaningful perturbation*, ICCV 2017, arXiv
1704.03296. With f the softmax probability of the class, x the image, r its blur, and m a mask that is one where the
image is kept, equation 6:

    min_m  lambda_1 ||1 - m||_1 + lambda_2 sum_u ||grad m(u)||_beta^beta + E_tau f(Phi(x(. - tau); m))

    Phi(x; m) = m x + (1 - m) r

The mask is coarse (`cells` along the shorter side), up-sampled bilinearly and smoothed by a Gaussian of 5/8 of a
cell; both norms are of the coarse mask. One draw of tau per step estimates the expectation: image and blur shift by
tau, the mask does not. Adam takes `steps` steps of 0.1 within [0, 1]. It starts from the smallest centred disc whose
deletion causes 99 % of the drop that deleting the whole image causes. All numbers are those of the authors' code at
224 pixels, with lengths as shares of the shorter side. The attribution is 1 - m. For a regression, f is the score
itself, so the attribution marks the pixels whose blurring lowers the score.
"""

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.blur import blurred
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import probability, target_scores, targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched

SUPPRESSED = 0.99
DISCS = 10


def total_variation(mask: Tensor, beta: float) -> Tensor:
    """Return sum_u ||grad m(u)||_beta^beta (N,) of masks (N, 1, h, w), with forward differences along both axes."""
    below, right = (mask.diff(dim=axis).abs().pow(beta).sum((1, 2, 3)) for axis in (2, 3))
    return below + right


def discs(height: int, width: int, like: Tensor) -> Tensor:
    """Return deletion masks (DISCS + 1, 1, h, w): zero inside centred discs, then zero everywhere.

    The radii grow from a tenth of the distance to the corner up to all of it.
    """
    rows = torch.arange(height, device=like.device, dtype=like.dtype) - (height - 1) / 2
    columns = torch.arange(width, device=like.device, dtype=like.dtype) - (width - 1) / 2
    distance = torch.hypot(rows[:, None], columns)
    radii = torch.linspace(0, 1, DISCS + 1, device=like.device, dtype=like.dtype)[1:] * (distance.max() + 1)
    # The edge of a disc is two cells wide.
    masks = ((distance - radii[:, None, None]) / 2 + 0.5).clamp(0, 1)
    return torch.cat([masks, torch.zeros_like(masks[:1])])[:, None]


def shifted(images: Tensor, shift: Tensor) -> Tensor:
    """Return images[n] (3, H, W) shifted by shift[n] (rows, columns) pixels, with replicated borders."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=shift.device) - shift[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=shift.device) - shift[:, 1:]).clamp(0, width - 1)
    which = torch.arange(len(images), device=shift.device)[:, None, None]
    return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class MeaningfulPerturbation(Attribution):
    """Compute how much of each pixel must be removed to suppress the class, 1 - m (N, 1, H, W) in [0, 1].

    `sparsity` and `smoothness` are lambda_1 and lambda_2; `blur` is the sigma of r and `jitter` the span of tau, as
    shares of the shorter side; `reference` is blur or mean_colour. `batch_size` images are optimised together, without
    influence on each other. Raises `UserError` for fewer than one step or cell and for an unknown reference.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        steps: int = 300,
        cells: int = 28,
        sparsity: float = 1e-4,
        smoothness: float = 1e-2,
        beta: float = 3.0,
        blur: float = 10 / 224,
        jitter: float = 4 / 224,
        learning_rate: float = 0.1,
        reference: Reference = "blur",
        seed: int = 0,
        batch_size: int = 32,
    ) -> None:
        if steps < 1 or cells < 1:
            raise UserError(f"steps={steps}, cells={cells}: meaningful perturbation needs one or more of each")
        if reference not in ("blur", "mean_colour"):
            raise UserError(f"reference={reference!r} is unknown; use blur or mean_colour")
        super().__init__(model)
        self.model, self.steps, self.cells = model, steps, cells
        self.sparsity, self.smoothness, self.beta = sparsity, smoothness, beta
        self.blur, self.jitter, self.learning_rate = blur, jitter, learning_rate
        self.reference, self.seed, self.batch_size = reference, seed, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs):
            images = inputs.detach().clone().split(self.batch_size)
            classes = targets(target, len(inputs)).to(inputs.device).split(self.batch_size)
            return torch.cat([self._optimised(*part) for part in zip(images, classes, strict=True)])

    def _optimised(self, images: Tensor, classes: Tensor) -> Tensor:
        side = min(images.shape[-2:])
        deleted = (
            blurred(images, self.blur * side)
            if self.reference == "blur"
            else reference_images(images, self.model, self.reference)
        )
        shifts = self._shifts(images)
        coarse = self._start(images, deleted, classes).requires_grad_()
        adam = torch.optim.Adam([coarse], self.learning_rate)
        for step in range(self.steps):
            kept, removed = (shifted(part, shifts[:, step]) for part in (images, deleted))
            probability = self._probability(kept, removed, self._upsampled(coarse, images), classes)
            size = (1 - coarse).sum((1, 2, 3))
            energy = self.sparsity * size + self.smoothness * total_variation(coarse, self.beta) + probability
            (coarse.grad,) = torch.autograd.grad(energy.sum(), coarse)
            adam.step()
            coarse.data.clamp_(0, 1)
        return 1 - self._upsampled(coarse.detach(), images)

    def _upsampled(self, coarse: Tensor, images: Tensor) -> Tensor:
        """Return coarse masks (N, 1, h, w) up-sampled to the size of the images, and smoothed."""
        large = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
        return blurred(large, 5 / 8 * min(images.shape[-2:]) / self.cells)

    def _probability(self, images: Tensor, deleted: Tensor, mask: Tensor, classes: Tensor) -> Tensor:
        outputs = self.model(torch.lerp(deleted, images, mask))
        return target_scores(probability(self.model, outputs), classes)

    def _shifts(self, images: Tensor) -> Tensor:
        """Return tau of each image and step (N, steps, 2) in pixels, drawn from the image and the seed."""
        span = max(1, round(self.jitter * min(images.shape[-2:]) / 2)) if self.jitter else 0
        draws = [
            torch.randint(-span, span + 1, (self.steps, 2), generator=image_generator(image, self.seed))
            for image in images
        ]
        return torch.stack(draws).to(images.device)

    @torch.no_grad()
    def _start(self, images: Tensor, deleted: Tensor, classes: Tensor) -> Tensor:
        """Return the mask of the smallest disc that suppresses the class (N, 1, h, w) for each image."""
        shorter = min(images.shape[-2:])
        height, width = (max(1, round(side * self.cells / shorter)) for side in images.shape[-2:])
        masks = discs(height, width, images)
        whole = self._probability(images, deleted, torch.ones_like(images[:, :1]), classes)
        left = torch.stack(
            [
                self._probability(images, deleted, self._upsampled(mask[None], images).expand_as(images), classes)
                for mask in masks
            ]
        )
        enough = left <= left[-1] + (1 - SUPPRESSED) * (whole - left[-1]).clamp(min=0)
        # The last mask, which deletes everything, always suppresses enough.
        return masks[enough.int().argmax(0)]
