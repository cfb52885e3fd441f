r"""LIME: a linear model of the class probability over super-pixels, fitted in the neighbourhood of the image.

M. T. Ribeiro, S. Singh, C. Guestrin: *"Why should I trust you?" Explaining the predictions of any
classifier*, KDD 2016. The vector z' in {0, 1}^d marks the visible ones of d super-pixels (SLIC); f(z) is the
probability of the class with all other super-pixels in the network's mean colour, and D the cosine distance between
z' and the vector of ones. Equations 1 and 2:

    min_w  sum_z' pi(z') (f(z) - w.z' - b)^2 + alpha ||w||^2,    pi(z') = sqrt(exp(-D^2 / sigma^2))

Ridge regression with alpha = 1 and sigma = 0.25 is the choice of the authors' code for images. Captum computes the
fit. For a regression, f is the score itself.
"""

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Attribution, Lime
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import seeded
from evident.explainers.shared.super_pixels import super_pixels, value_of
from evident.explainers.shared.targets import targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched


class LIME(Attribution):
    """Compute the weight of each pixel's super-pixel (N, 1, H, W).

    `samples` neighbours of each image, drawn from the seed and the image, are evaluated `batch_size` at a time. A
    larger `compactness` makes the super-pixels more square, independent of the image content. Raises `UserError` for
    fewer than two segments or samples.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        segments: int = 50,
        samples: int = 1000,
        kernel_width: float = 0.25,
        ridge: float = 1.0,
        seed: int = 0,
        batch_size: int = 64,
        reference: Reference = "mean_colour",
        compactness: float = 10.0,
    ) -> None:
        if segments < 2 or samples < 2:
            raise UserError(f"segments={segments}, samples={samples}: LIME needs two or more of each")
        super().__init__(model)
        self.model, self.segments, self.samples = model, segments, samples
        self.kernel_width, self.ridge = kernel_width, ridge
        self.seed, self.batch_size, self.reference = seed, batch_size, reference
        self.compactness = compactness

    def _similarity(self, image: Tensor, neighbour: Tensor, visible: Tensor, **_: object) -> Tensor:
        """Return pi(z'); the cosine of z' and the vector of ones is the square root of the visible share."""
        distance = 1 - visible.float().mean().sqrt()
        return (-(distance**2) / self.kernel_width**2).exp().sqrt()

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs), torch.no_grad():
            classes = targets(target, len(inputs)).tolist()
            return torch.cat([self._explain(*one) for one in zip(inputs.detach(), classes, strict=True)])

    def _explain(self, image: Tensor, target: int) -> Tensor:
        lime = Lime(
            value_of(self.model, target, "probability"),
            interpretable_model=SkLearnRidge(alpha=self.ridge),
            similarity_func=self._similarity,
        )
        labels = super_pixels(image, self.segments, self.compactness)
        with seeded(image, self.seed):
            weights = lime.attribute(
                image[None],
                baselines=reference_images(image[None], self.model, self.reference),
                feature_mask=labels[None, None],
                n_samples=self.samples,
                perturbations_per_eval=self.batch_size,
                return_input_shape=False,
            )
        return weights.flatten().to(image)[labels][None, None]
